<?php

namespace WHMCS\Module\Addon\Vmbridgehome;

use WHMCS\Database\Capsule;

/** Of what Reader reads: taxes, what is billed by use, and what products cost. */
trait Prices
{
    /** Column of tblpricing => the cycle's name. */
    private static $cycles = [
        'monthly' => 'Monthly', 'quarterly' => 'Quarterly', 'semiannually' => 'Semi-Annually', 'annually' => 'Annually',
        'biennially' => 'Biennially', 'triennially' => 'Triennially',
    ];

    /**
     * The rules of the client's country, or of any; of those that fit the narrowest, and of these the first, for each
     * level.
     */
    private function rates()
    {
        $client = $this->access->client;
        $best = [];
        foreach (
            Capsule::table('tbltax')->whereIn('country', [(string) $client->country, ''])->orderBy('id')
                ->get(['id', 'level', 'name', 'state', 'country', 'taxrate']) as $row) {
            $level = (int) $row->level;
            $state = (string) $row->state;
            if (!in_array($level, [1, 2], true)
                || ($state !== '' && strcasecmp($state, (string) $client->state) !== 0)) {
                continue;
            }
            $narrow = ($state !== '' ? 2 : 0) + ((string) $row->country !== '' ? 1 : 0);
            if (!isset($best[$level]) || $narrow > $best[$level][0]) {
                $best[$level] = [$narrow, [$level, self::text($row->name), self::amount($row->taxrate)]];
            }
        }
        ksort($best);
        return array_values(array_column($best, 1));
    }

    /** Prices of what is billed by use, where a product of ours has such; another version's tables: none. */
    private function metered()
    {
        $products = [];
        foreach (isset($this->rows['products']) ? $this->rows['products'] : [] as $product) {
            if ($product[4]) {
                $products[] = $product[0];
            }
        }
        if ($products === []) {
            return;
        }
        try {
            $prices = [];
            $query = Capsule::table('tblusage_items as u')->leftJoin(
                'tblpricing_bracket as b', 'b.rel_id', '=', 'u.id')->leftJoin('tblpricing as p', 'p.relid', '=', 'b.id')
                ->where('u.rel_type', 'Product')->where('u.module', 'vmbridge')->whereIn('u.rel_id', $products)
                ->orderBy('u.id')->orderBy('b.floor');
            foreach (
                $query->get(
                    ['u.id', 'u.rel_id', 'u.metric', 'u.included', 'b.floor', 'b.schema_type', 'b.rel_type as of',
                        'p.type as kind', 'p.currency', 'p.monthly']) as $row) {
                $key = $row->rel_id . '/' . $row->metric;
                $prices += [
                    $key => [
                        (int) $row->rel_id, (string) $row->metric, (string) $row->metric,
                        preg_match('/\A(bandwidth_.*|.*_gb)\z/', (string) $row->metric) ? 'GB' : '',
                        self::amount($row->included), (string) $row->schema_type, []]];
                if ((string) $row->kind === 'usage' && (int) $row->currency === (int) $this->currency()) {
                    $prices[$key][6][] = [self::amount($row->floor), self::amount($row->monthly)];
                }
            }
            foreach (isset($this->rows['services']) ? $this->rows['services'] : [] as $service) {
                foreach ($prices as $price) {
                    if ($price[0] === $service[1] && $price[6] !== []) {
                        $this->rows['metered'][] = array_merge([$service[0]], array_slice($price, 1));
                    }
                }
            }
        } catch (\Throwable $e) {
            unset($this->rows['metered']);
        }
    }

    private function currency()
    {
        return isset($this->access->client->currency) ? $this->access->client->currency : 0;
    }

    /** What the client's products cost by cycle, and what they may be changed to. */
    private function prices()
    {
        $own = array_map('intval', array_column(isset($this->rows['products']) ? $this->rows['products'] : [], 0));
        $targets = [];
        try {
            foreach (
                Capsule::table('tblproduct_upgrade_products')->whereIn('product_id', $own)->orderBy('id')
                    ->get(['product_id', 'upgrade_product_id']) as $row) {
                $this->rows['upgrades'][] = [(int) $row->product_id, (int) $row->upgrade_product_id];
                $targets[(int) $row->upgrade_product_id] = true;
            }
        } catch (\Throwable $e) {
            unset($this->rows['upgrades']); // another version's tables: no other product is offered then
        }
        foreach (
            Capsule::table('tblproducts')->whereIn('id', array_diff(array_keys($targets), $own))->orderBy('id')
                ->get(['id', 'name', 'gid', 'tax', 'servertype']) as $row) {
            $this->rows['products'][] = [
                (int) $row->id, self::text($row->name), (int) $row->gid, self::on($row->tax),
                (string) $row->servertype === 'vmbridge'];
        }
        $query = Capsule::table('tblpricing')->where('type', 'product')->where('currency', (int) $this->currency())
            ->whereIn('relid', array_unique(array_merge($own, array_keys($targets))))->orderBy('relid');
        foreach ($query->get(array_merge(['relid'], array_keys(self::$cycles))) as $row) {
            foreach (self::$cycles as $column => $cycle) {
                if ((float) $row->$column >= 0) { // -1: not sold by this cycle
                    $this->rows['cycles'][] = [(int) $row->relid, $cycle, self::amount($row->$column)];
                }
            }
        }
    }
}
