<?php

namespace WHMCS\Module\Addon\Vmbridgehome;

use WHMCS\Database\Capsule;

/** Of what Reader reads: invoices, what was paid by which method, and credit. */
trait Invoices
{
    /**
     * Open invoices with what is paid of them, and their items; both whole: mass payments and top-ups are told apart by
     * the items.
     */
    private function open()
    {
        $query = Capsule::table('tblinvoices as i')->leftJoin('tblinvoiceitems as t', 't.invoiceid', '=', 'i.id')
            ->where('i.userid', $this->id)
            ->whereIn('i.status', self::OPEN)->orderBy('i.id')->orderBy('t.id');
        $last = 0;
        foreach (
            $query->get(
                ['i.id', 'i.invoicenum', 'i.status', 'i.date', 'i.duedate', 'i.total', 't.id as item', 't.type as kind',
                    't.relid', 't.amount', 't.duedate as period',
            Capsule::raw(
                '(SELECT SUM(a.amountin - a.amountout) FROM tblaccounts a WHERE a.invoiceid = i.id) AS paid'
            )]) as $row) {
            if ((int) $row->id !== $last) {
                $last = (int) $row->id;
                $this->rows['open'][] = [
                    $last, self::text($row->invoicenum), (string) $row->status, self::day($row->date),
                    self::day($row->duedate),
                    self::amount($row->total), sprintf('%.2F', (float) $row->paid), ''];
            }
            if ($row->item !== null) {
                $this->rows['open_items'][] = [
                    $last, (string) $row->kind, (int) $row->relid, self::amount($row->amount), self::day($row->period)];
            }
        }
        $this->balances();
    }

    /**
     * From 9.0 on credit and debit notes count too, and only WHMCS knows them: its own balance of the 20 oldest wins.
     */
    private function balances()
    {
        $version = isset($GLOBALS['CONFIG']['Version']) ? (string) $GLOBALS['CONFIG']['Version'] : '';
        if ((int) $version < 9 || empty($this->rows['open']) || !function_exists('localAPI')) {
            return;
        }
        foreach (array_slice(array_keys($this->rows['open']), 0, 20) as $n) {
            $reply = localAPI('GetInvoice', ['invoiceid' => $this->rows['open'][$n][0]]);
            if (is_array($reply) && isset($reply['result'], $reply['balance']) && $reply['result'] === 'success'
                && is_numeric($reply['balance'])) {
                $this->rows['open'][$n][7] = self::amount($reply['balance']);
            }
        }
    }

    private function past($column, $since)
    {
        $query = Capsule::table('tblinvoiceitems as t')->join('tblinvoices as i', 'i.id', '=', 't.invoiceid')
            ->where('i.userid', $this->id)
            ->where($column, '>=', $since)->whereIn(
                't.type', ['Hosting', 'Addon', 'Domain', 'DomainRegister', 'DomainTransfer'])
            ->whereNotIn('i.status', ['Cancelled', 'Draft'])->orderBy('t.id', 'desc')->limit(self::PAST + 1);
        foreach (
            $query->get(
                ['t.invoiceid', 't.type as kind', 't.relid', 't.amount', 't.duedate', 'i.date', 'i.status']) as $row) {
            $kind = strpos((string) $row->kind, 'Domain') === 0 ? 'Domain' : (string) $row->kind;
            $this->rows['past_items'][] = [
                (int) $row->invoiceid, $kind, (int) $row->relid, self::amount($row->amount), self::day($row->duedate),
                self::day($row->date), (string) $row->status];
        }
    }

    private function paymethods()
    {
        $query = Capsule::table('tblpaymethods as m')->leftJoin('tblcreditcards as c', 'c.pay_method_id', '=', 'm.id')
            ->where('m.userid', $this->id)->whereNull('m.deleted_at')->orderBy('m.id');
        foreach ($query->get(['m.gateway_name', 'm.payment_type', 'c.expiry_date']) as $row) {
            $this->rows['paymethods'][] = [
                self::text($row->gateway_name), (string) $row->payment_type,
                preg_match('/\A\d{4}-\d\d/', (string) $row->expiry_date, $m) ? $m[0] : ''];
        }
    }

    /**
     * A month's invoices, payments and credit; and the sum of the credit after it, so that the running credit ends at
     * today's.
     */
    private function ledger($month)
    {
        $first = (preg_match('/\A\d{4}-\d\d\z/', $month) ? $month : date('Y-m')) . '-01';
        $next = date('Y-m-d', strtotime($first . ' +1 month'));
        $query = Capsule::table('tblinvoices')->where('userid', $this->id)->where('date', '>=', $first)
            ->where('date', '<', $next)->whereNotIn('status', ['Draft'])->orderBy('id');
        foreach (
            $query->get(['id', 'invoicenum', 'date', 'duedate', 'datepaid', 'total', 'credit', 'status']) as $row) {
            $this->rows['invoices'][] = [
                (int) $row->id, self::text($row->invoicenum), self::day($row->date), self::day($row->duedate),
                self::day($row->datepaid),
                self::amount($row->total), self::amount($row->credit), (string) $row->status];
        }
        $mass = [];
        $ids = array_column(isset($this->rows['invoices']) ? $this->rows['invoices'] : [], 0);
        foreach (
            Capsule::table('tblinvoiceitems')->whereIn('invoiceid', $ids)->where('type', 'Invoice')
                ->get(['invoiceid']) as $row) {
            $mass[(int) $row->invoiceid] = true; // it only stands for others
        }
        if ($mass !== []) {
            $this->rows['invoices'] = array_values(array_filter($this->rows['invoices'], function ($row) use ($mass) {
                return !isset($mass[$row[0]]);
            }));
        }
        $this->payments($first, $next);
        $after = 0.0;
        foreach (
            Capsule::table('tblcredit')->where('clientid', $this->id)->where('date', '>=', $first)->orderBy('id')
                ->get(['id', 'date', 'amount', 'relid']) as $row) {
            if (self::day($row->date) >= $next) {
                $after += (float) $row->amount;
            } else {
                $this->rows['credits'][] = [
                    (int) $row->id, self::day($row->date), self::amount($row->amount), (int) $row->relid];
            }
        }
        $this->rows['credit_after'] = [[sprintf('%.2F', $after)]];
    }

    private function payments($first, $next)
    {
        $named = Capsule::raw( // as its client reads it, not as WHMCS calls the module
            '(SELECT MAX(g.value) FROM tblpaymentgateways g WHERE g.gateway = tblaccounts.gateway'
                . ' AND g.setting = \'name\') AS method');
        $query = Capsule::table('tblaccounts')->where('userid', $this->id)->where('date', '>=', $first)
            ->where('date', '<', $next)->orderBy('id');
        foreach (
            $query->get(['id', 'date', 'gateway', $named, 'amountin', 'amountout', 'invoiceid', 'refundid']) as $row) {
            $method = (string) $row->method !== '' ? $row->method : $row->gateway;
            $this->rows['transactions'][] = [
                (int) $row->id, self::day($row->date), self::text($method), self::amount($row->amountin),
                self::amount($row->amountout),
                (int) $row->invoiceid, (int) $row->refundid];
        }
    }

    /** The payment methods that WHMCS's form may offer. */
    private function gateways()
    {
        $names = $shown = [];
        foreach (
            Capsule::table('tblpaymentgateways')->whereIn('setting', ['name', 'visible'])->orderBy('order')
                ->get(['gateway', 'setting', 'value']) as $row) {
            if ((string) $row->setting === 'name') {
                $names[(string) $row->gateway] = self::text($row->value);
            } elseif (self::on($row->value)) {
                $shown[(string) $row->gateway] = true;
            }
        }
        foreach (array_intersect_key($names, $shown) as $gateway => $name) {
            $this->rows['gateways'][] = [(string) $gateway, $name];
        }
    }
}
