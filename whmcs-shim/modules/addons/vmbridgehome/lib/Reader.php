<?php

namespace WHMCS\Module\Addon\Vmbridgehome;

require_once __DIR__ . '/Invoices.php';
require_once __DIR__ . '/Prices.php';

use WHMCS\Database\Capsule;
use WHMCS\Module\Server\Vmbridge\Bridge;

/**
 * The one read: what an account has and owes, as the bridge's dashboard wants it (bridge/accounts/columns.py has every
 * column). The number of queries does not depend on the number of services. What the user may not see is not read.
 */
class Reader
{
    use Invoices;
    use Prices;

    const MOST = 240000; // bytes of a body; the bridge takes 256 KiB
    const PAST = 2500;   // rows of past invoices
    const LIVE = ['Active', 'Suspended'];
    const OPEN = ['Unpaid', 'Payment Pending', 'Collections'];
    const SETTINGS = [
        'AddFundsEnabled', 'AddFundsMinimum', 'AddFundsMaximum', 'AddFundsMaximumBalance', 'AddFundsRequireOrder',
        'NoAutoApplyCredit',
        'EnableMassPay', 'CreateInvoiceDaysBefore', 'CreateInvoiceDaysBeforeMonthly',
        'CreateInvoiceDaysBeforeQuarterly',
        'CreateInvoiceDaysBeforeSemiAnnually', 'CreateInvoiceDaysBeforeAnnually', 'CreateInvoiceDaysBeforeBiennially',
        'CreateInvoiceDaysBeforeTriennially', 'CreateDomainInvoiceDaysBefore', 'ContinuousInvoiceGeneration',
        'AutoSuspension',
        'AutoSuspensionDays', 'TaxEnabled', 'TaxType', 'TaxL2Compound', 'TaxDomains', 'TaxPerLineItem',
        'TaxInclusiveDeduct',
        'EnableEmailVerification', 'Version',
    ];
    const GONE = ['Terminated', 'Cancelled', 'Fraud', 'Transferred Away', 'Expired'];

    private $access;
    private $id;
    private $money; // prices are sums too: who may not see invoices has none sent
    private $rows = [];

    public function __construct(Access $access)
    {
        $this->access = $access;
        $this->id = (int) $access->client->id;
        $this->money = $access->may('invoices');
    }

    /** The body of one page; `$ask` is what its address asks for. */
    public function body($page, array $ask, array $urls)
    {
        $shared = $this->shared();
        $this->accounts();
        if ($this->access->may('products')) {
            $this->services();
            $this->addons();
            if ($this->money) {
                $this->metered();
            }
        }
        if ($this->access->may('domains')) {
            $this->domains();
        }
        if ($this->money) {
            $this->open();
            $this->past('i.date', date('Y-m-01', strtotime(date('Y-m-01') . ' -12 months')));
        }
        if (in_array($page, ['dashboard', 'verification'], true)) {
            $this->users();
            if ($this->money) {
                $this->paymethods();
            }
        }
        if ($page === 'whatif' && $this->money && $this->access->may('products')) {
            try {
                $this->prices();
            } catch (\Throwable $e) { // other tables than we know: what a cancellation saves is computed all the same
                unset($this->rows['upgrades'], $this->rows['cycles']);
            }
        }
        if (in_array($page, ['ledger', 'csv'], true) && $this->money) {
            $this->ledger(isset($ask['month']) ? $ask['month'] : '');
        }
        if ($page === 'dashboard' && $this->money) {
            $this->payments(date('Y-m-01'), date('Y-m-d', strtotime('+1 day')));
        }
        if ($page === 'addfunds' && $this->money) {
            $this->gateways();
        }
        $body = $shared + $this->frame() + ['urls' => (object) $urls, 'ask' => (object) $ask];
        if ($page === 'addfunds' && $this->money) {
            $body['client']['warn'] = Warnings::chosen($this->id);
        }
        return $this->fitted($body);
    }

    /**
     * What of an account changes when its client pays, orders, cancels or switches a renewal: numbers, in one query.
     * Credit is in the client's row already.
     */
    public function marks()
    {
        $live = " IN ('" . implode("', '", self::LIVE) . "')";
        $open = "i.userid = c.id AND i.status IN ('" . implode("', '", self::OPEN) . "')";
        $wanted = [
            'products' => [
                "COUNT(*) FROM tblhosting h WHERE h.userid = c.id AND h.domainstatus = 'Pending'",
                "COUNT(*) FROM tblhosting h WHERE h.userid = c.id AND h.domainstatus = 'Active'",
                "COUNT(*) FROM tblhosting h WHERE h.userid = c.id AND h.domainstatus = 'Suspended'",
                'SUM(h.amount) FROM tblhosting h WHERE h.userid = c.id AND h.domainstatus' . $live,
                'COUNT(*) FROM tblcancelrequests r JOIN tblhosting h ON h.id = r.relid WHERE h.userid = c.id',
                'COUNT(*) FROM tblhostingaddons n WHERE n.userid = c.id AND n.status' . $live,
                'SUM(n.recurring) FROM tblhostingaddons n WHERE n.userid = c.id AND n.status' . $live,
            ],
            'domains' => [
                'COUNT(*) FROM tbldomains d WHERE d.userid = c.id',
                "COUNT(*) FROM tbldomains d WHERE d.userid = c.id AND d.status = 'Active'",
                'SUM(d.recurringamount) FROM tbldomains d WHERE d.userid = c.id',
                'SUM(d.donotrenew) FROM tbldomains d WHERE d.userid = c.id',
            ],
            'invoices' => [
                'COUNT(*) FROM tblinvoices i WHERE ' . $open, 'SUM(i.total) FROM tblinvoices i WHERE ' . $open,
                'SUM(a.amountin - a.amountout) FROM tblaccounts a JOIN tblinvoices i ON i.id = a.invoiceid WHERE '
                    . $open,
            ],
        ];
        $columns = [];
        foreach ($wanted as $permission => $marks) {
            foreach ($this->access->may($permission) ? $marks : [] as $n => $mark) {
                $columns[] = Capsule::raw('(SELECT ' . $mark . ') AS ' . $permission . '_' . $n);
            }
        }
        return $columns === [] ? []
            : (array) Capsule::table('tblclients as c')->where('c.id', $this->id)->get($columns)[0];
    }

    /** What is the same for all clients. */
    public function shared()
    {
        return ['today' => date('Y-m-d'), 'zone' => date_default_timezone_get(),
            'settings' => (object) $this->settings()];
    }

    /** Until when credit lasts, of one client among many: what is charged and owed, nothing of people. */
    public function outlook()
    {
        $this->services();
        $this->addons();
        $this->metered();
        $this->domains();
        $this->open();
        $this->past('t.duedate', date('Y-m-d', strtotime('-60 days'))); // of what is to come these are settled already
        unset($this->rows['suspended']);
        $frame = $this->frame();
        unset($frame['client']['name']);
        return $frame + ['rows' => (object) array_filter($this->rows)];
    }

    /** The client, what may be seen, and what every number is made with. */
    private function frame()
    {
        $client = $this->access->client;
        $money = $this->money;
        $profile = $this->access->may('profile');
        return [
            'currency' => [
                'code' => (string) $client->code, 'prefix' => self::cut(Bridge::plain($client->prefix), 10),
                'suffix' => self::cut(Bridge::plain($client->suffix), 10),
                'format' => min(4, max(1, (int) $client->format)), 'rate' => (string) $client->rate,
            ],
            'client' => [
                'id' => $this->id, 'name' => self::name($client), 'credit' => $money ? self::amount($client->credit)
                    : '0.00',
                'exempt' => $money && self::on($client->taxexempt),
                'has_tax_id' => $profile && trim((string) $client->tax_id) !== '',
                'has_address' => $profile && trim($client->address1 . $client->city) !== '',
                'has_order' => $money && (int) $client->accepted > 0,
                'discount' => $money ? self::amount($client->discountpercent) : '0.00',
            ],
            'may' => $this->access->may, 'rates' => $money ? $this->rates() : [],
        ];
    }

    private function settings()
    {
        $settings = [];
        foreach (
            Capsule::table('tblconfiguration')->whereIn('setting', self::SETTINGS)->get(['setting', 'value']) as $row) {
            $settings[(string) $row->setting] = substr((string) $row->value, 0, 200);
        }
        return $settings;
    }

    private function accounts()
    {
        foreach ($this->access->accounts as $row) {
            $this->rows['accounts'][] = [(int) $row->id, self::name($row), (string) $row->code, (string) $row->status,
                !isset($row->owner) || self::on($row->owner), (int) $row->id === $this->id];
        }
    }

    private function services()
    {
        $groups = $products = [];
        $query = Capsule::table('tblhosting as h')->leftJoin('tblproducts as p', 'p.id', '=', 'h.packageid')
            ->leftJoin('tblproductgroups as g', 'g.id', '=', 'p.gid')
            ->leftJoin('tblcancelrequests as r', 'r.relid', '=', 'h.id')->where('h.userid', $this->id)
            ->whereNotIn('h.domainstatus', self::GONE)->orderBy('h.id')->orderBy('r.id');
        $last = 0;
        foreach (
            $query->get(
                ['h.id', 'h.packageid', 'h.domain', 'h.domainstatus', 'h.billingcycle', 'h.qty', 'h.amount',
                    'h.firstpaymentamount', 'h.regdate',
            'h.nextduedate', 'h.suspendreason', 'h.overideautosuspend', 'h.overidesuspenduntil', 'p.name as product',
            'p.gid', 'p.tax', 'p.servertype',
            'g.name as family', 'g.order as place', 'r.type as cancel', 'r.date as cancelled_at']) as $row) {
            // rows of requests stay when they are done
            if ((string) $row->cancel !== '' && in_array((string) $row->domainstatus, self::LIVE, true)) {
                $this->rows['cancels'][] = [(int) $row->id, (string) $row->cancel, self::day($row->cancelled_at)];
            }
            if ((int) $row->id === $last) {
                continue; // asked for more than once
            }
            $last = (int) $row->id;
            $groups[(int) $row->gid] = [(int) $row->gid, self::text($row->family), (int) $row->place];
            $products[(int) $row->packageid] = [
                (int) $row->packageid, self::text($row->product), (int) $row->gid, self::on($row->tax),
                (string) $row->servertype === 'vmbridge'];
            $this->rows['services'][] = [
                (int) $row->id, (int) $row->packageid, self::text($row->domain), (string) $row->domainstatus,
                (string) $row->billingcycle,
                max(1, (int) $row->qty), $this->price($row->amount), $this->price($row->firstpaymentamount),
                self::day($row->regdate), self::day($row->nextduedate)];
            $kept = self::on($row->overideautosuspend) ? self::day($row->overidesuspenduntil) : '';
            if ((string) $row->domainstatus === 'Suspended' || $kept !== '') {
                $this->rows['suspended'][] = [(int) $row->id, self::text($row->suspendreason), $kept];
            }
        }
        $this->rows['groups'] = array_values($groups);
        $this->rows['products'] = array_values($products);
    }

    private function addons()
    {
        $query = Capsule::table('tblhostingaddons as a')->leftJoin('tbladdons as n', 'n.id', '=', 'a.addonid')
            ->where('a.userid', $this->id)
            ->whereNotIn('a.status', self::GONE)->orderBy('a.id');
        foreach (
            $query->get(
                ['a.id', 'a.hostingid', 'a.name', 'n.name as kind', 'a.status', 'a.billingcycle', 'a.recurring',
                    'a.firstpaymentamount', 'a.regdate',
            'a.nextduedate', 'a.tax']) as $row) {
            $name = trim((string) $row->name) !== '' ? $row->name : $row->kind;
            $this->rows['addons'][] = [
                (int) $row->id, (int) $row->hostingid, self::text($name), (string) $row->status,
                (string) $row->billingcycle,
                $this->price($row->recurring), $this->price($row->firstpaymentamount), self::day($row->regdate),
                self::day($row->nextduedate), self::on($row->tax)];
        }
    }

    private function domains()
    {
        $query = Capsule::table('tbldomains')->where('userid', $this->id)->whereNotIn('status', self::GONE)
            ->orderBy('id');
        foreach (
            $query->get(
                ['id', 'domain', 'registrationperiod', 'status', 'recurringamount', 'firstpaymentamount',
                    'registrationdate', 'nextduedate', 'expirydate', 'donotrenew']) as $row) {
            $this->rows['domains'][] = [
                (int) $row->id, self::text($row->domain), (int) $row->registrationperiod, (string) $row->status,
                $this->price($row->recurringamount),
                $this->price($row->firstpaymentamount), self::day($row->registrationdate), self::day($row->nextduedate),
                self::day($row->expirydate), self::on($row->donotrenew)];
        }
    }

    /** Of an account all its users, to the owner; else only who looks. */
    private function users()
    {
        $user = $this->access->user;
        $own = $user === null ? 0 : (int) $user->id;
        $query = Capsule::table('tblusers_clients as p')->join('tblusers as u', 'u.id', '=', 'p.auth_user_id')
            ->where('p.client_id', $this->id);
        if (!$this->access->may('owner')) {
            $query = $query->where('u.id', $own);
        }
        foreach (
            $query->orderBy('u.id')->get(
                ['u.id', 'u.first_name', 'u.last_name', 'u.email', 'u.second_factor', 'u.email_verified_at',
                    'p.owner']) as $row) {
            $self = (int) $row->id === $own;
            $factor = trim((string) $row->second_factor) !== '';
            $verified = trim((string) $row->email_verified_at) !== '';
            if ($self && method_exists($user, 'hasTwoFactorAuthEnabled')) {
                $factor = (bool) $user->hasTwoFactorAuthEnabled();
            }
            if ($self && method_exists($user, 'emailVerified')) {
                $verified = (bool) $user->emailVerified();
            }
            $this->rows['users'][] = [
                (int) $row->id, self::text($row->first_name . ' ' . $row->last_name), self::text($row->email),
                self::on($row->owner), $self, $factor, $verified];
        }
    }

    /**
     * The body with as many rows as the bridge takes; what was left out is said. The past goes first, then what came
     * last.
     */
    private function fitted(array $body)
    {
        $cut = [];
        if (isset($this->rows['past_items']) && count($this->rows['past_items']) > self::PAST) {
            array_pop($this->rows['past_items']);
            $cut['past_items'] = 1;
        }
        $sizes = array_map([self::class, 'size'], array_filter($this->rows));
        $over = self::size($body) + array_sum($sizes) - self::MOST;
        foreach (
            ['past_items', 'credits', 'transactions', 'invoices', 'addons', 'domains', 'open_items',
                'services'] as $list) {
            if ($over <= 0 || !isset($sizes[$list])) {
                continue;
            }
            $rows = $this->rows[$list];
            $keep = max(0, (int) floor(count($rows) * (1 - min(1, $over / $sizes[$list] + 0.02))));
            $this->rows[$list] = array_slice($rows, 0, $keep);
            $cut[$list] = (isset($cut[$list]) ? $cut[$list] : 0) + count($rows) - $keep;
            $over -= $sizes[$list] - self::size($this->rows[$list]);
        }
        return $body + ['rows' => (object) array_filter($this->rows), 'cut' => (object) $cut];
    }

    public static function size($value)
    {
        return strlen(
            (string) json_encode(
                $value, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE));
    }

    private static function name($client)
    {
        $company = trim((string) $client->companyname);
        return self::text($company !== '' ? $company : $client->firstname . ' ' . $client->lastname);
    }

    /** As it was typed: WHMCS keeps entities. */
    private static function text($value)
    {
        return self::cut(trim(Bridge::plain($value === null ? '' : $value)), 120);
    }

    /** By characters: half of one is no text. */
    private static function cut($text, $most)
    {
        return mb_substr($text, 0, $most, 'UTF-8');
    }

    private function price($value)
    {
        return $this->money ? self::amount($value) : '0.00';
    }

    private static function amount($value)
    {
        return $value === null || (string) $value === '' ? '0.00' : (string) $value;
    }

    private static function day($value)
    {
        return $value === null ? '' : substr((string) $value, 0, 10);
    }

    private static function on($value)
    {
        return !in_array(strtolower((string) $value), ['', '0', 'off', 'no', 'false'], true);
    }
}
