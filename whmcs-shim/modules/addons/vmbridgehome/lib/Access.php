<?php

namespace WHMCS\Module\Addon\Vmbridgehome;

use WHMCS\Database\Capsule;

/**
 * Who looks, and what they may see: user and client account from WHMCS's own login, never from the request; permissions
 * from the row that joins the two. One query, which is also the list of the accounts that the user may open.
 */
class Access
{
    const ALL = [
        'profile', 'contacts', 'products', 'manageproducts', 'productsso', 'domains', 'managedomains', 'invoices',
        'quotes', 'tickets',
        'affiliates', 'emails', 'orders',
    ];

    /** WHMCS's model, or null while staff looks without a user. */
    public $user;
    /** The client account's row: of tblclients, with its currency and group. */
    public $client;
    /** Words of ALL, and `owner`. */
    public $may = [];
    /** Every account that the user may open, rows as `client`. */
    public $accounts = [];

    /** Null: nobody is logged in, or the user has no access to the account (any more). */
    public static function current()
    {
        $login = new \WHMCS\Authentication\CurrentUser();
        $client = $login->client();
        if (!$client) {
            return null;
        }
        $access = new self();
        $access->user = $login->user() ?: null;
        $staff = (bool) $login->isMasqueradingAdmin();
        foreach (self::rows($access->user, (int) $client->id) as $row) {
            $access->accounts[] = $row;
            if ((int) $row->id === (int) $client->id) {
                $access->client = $row;
            }
        }
        if ($access->client === null || ($access->user === null && !$staff)) {
            return null;
        }
        // staff who came in without a user sees what the account's owner sees
        $owner = $access->user === null || !empty($access->client->owner);
        $told = array_map(
            'trim', explode(',', isset($access->client->permissions) ? (string) $access->client->permissions : ''));
        $access->may = $owner ? array_merge(['owner'], self::ALL) : array_values(array_intersect(self::ALL, $told));
        return $access;
    }

    public function may($word)
    {
        return in_array($word, $this->may, true);
    }

    /** Clients' accounts as their owners see them, by id, while nobody looks. */
    public static function owners(array $ids)
    {
        $owners = [];
        foreach (self::named(Capsule::table('tblclients as c')->whereIn('c.id', $ids))->get(self::columns()) as $row) {
            $one = new self();
            $one->client = $row;
            $one->may = array_merge(['owner'], self::ALL);
            $owners[(int) $row->id] = $one;
        }
        return $owners;
    }

    private static function columns()
    {
        return ['c.id', 'c.firstname', 'c.lastname', 'c.companyname', 'c.credit', 'c.taxexempt', 'c.tax_id',
            'c.address1', 'c.city', 'c.country',
            'c.state', 'c.status', 'c.language', 'c.currency', 'k.code', 'k.prefix', 'k.suffix', 'k.format', 'k.rate',
            'g.discountpercent',
            Capsule::raw(
                '(SELECT COUNT(*) FROM tblorders o WHERE o.userid = c.id AND o.status = \'Active\') AS accepted')];
    }

    private static function named($query)
    {
        return $query->leftJoin('tblcurrencies as k', 'k.id', '=', 'c.currency')
            ->leftJoin('tblclientgroups as g', 'g.id', '=', 'c.groupid')->orderBy('c.id');
    }

    private static function rows($user, $client)
    {
        $query = $user === null ? Capsule::table('tblclients as c')->where('c.id', $client)
            : Capsule::table('tblusers_clients as p')->join('tblclients as c', 'c.id', '=', 'p.client_id')
            ->where('p.auth_user_id', (int) $user->id);
        return self::named($query)->get(
            $user === null ? self::columns() : array_merge(self::columns(), ['p.owner', 'p.permissions']));
    }
}
