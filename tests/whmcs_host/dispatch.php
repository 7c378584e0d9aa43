<?php

/**
 * How WHMCS finds out what a request of the client area is for: by names that it reads from the request, where POST
 * beats GET. A module's own field of such a name changes the page; here any name that is neither WHMCS's nor in the
 * module's array is a fault of the module.
 */

const CLIENT_ACTIONS = [
    '', 'services', 'products', 'productdetails', 'details', 'invoices', 'domains', 'domaindetails', 'masspay',
    'addfunds', 'emails', 'cancel', 'quotes'];
const WHMCS_PAGES = ['/cart.php', '/submitticket.php', '/supporttickets.php', '/logout.php', '/dl.php'];
const CLIENT_NAMES = ['action', 'id', 'modop', 'a', 'token', 'language', 'amount', 'paymentmethod'];
const ADMIN_NAMES = ['module', 'id', 'userid', 'a', 'token'];
const OURS = 'vmb';
const KNOBS = ['theme', 'shade', 'dark', 'as', 'both']; // of this host, for its tests

/** A value of the request as WHMCS reads it. */
function asked($name)
{
    $value = $_POST[$name] ?? $_GET[$name] ?? '';
    return is_string($value) ? $value : '';
}

/**
 * Whether the request may go on; else the answer is given: 404 as WHMCS's for an action that it does not know, 500 for
 * a stray name.
 */
function dispatched(array $actions, array $names)
{
    $stray = array_diff(array_keys($_POST + $_GET), $names, KNOBS, [OURS]);
    if (!in_array(asked('action'), $actions, true)) {
        http_response_code(404);
        echo 'Oops! There is no such page.';
        return false;
    }
    if ($stray !== []) {
        http_response_code(500);
        echo 'A name that WHMCS may read: ' . htmlspecialchars(implode(', ', $stray));
        return false;
    }
    foreach ([&$_GET, &$_POST] as &$values) {
        array_walk_recursive($values, function (&$value) {
            $value = htmlspecialchars($value, ENT_QUOTES, 'UTF-8'); // modules get what was typed with entities
        });
    }
    return true;
}
