<?php

/**
 * A host page that behaves like WHMCS where the shim can tell the difference. Run by PHP's own server:
 *   VMBRIDGE_HOST_STATE=dir php -S 127.0.0.1:PORT tests/whmcs_host/router.php
 * `dir/host.json` is the server record and the API credential; `dir/state.json` services, mails and logs.
 */

error_reporting(E_ALL);
set_error_handler(function ($no, $text, $file, $line) {
    throw new ErrorException($text, 0, $no, $file, $line);
});
$path = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
if (strpos($path, '/admin/') === 0) {
    define('ADMINAREA', true); // nowhere else, as WHMCS does
}
require __DIR__ . '/whmcs.php';
require __DIR__ . '/database.php';
require __DIR__ . '/dispatch.php';
require __DIR__ . '/pages.php';
require __DIR__ . '/usage_billing.php';
require __DIR__ . '/upgrade.php';
require __DIR__ . '/themes.php';
require __DIR__ . '/clients.php';
require __DIR__ . '/tickets.php';

// WHMCS's cron and its API have no visitor, whose session they would keep from him while they wait for the bridge
if (in_array($path, ['/test/metrics', '/test/call', '/test/cron', '/test/module', '/includes/api.php'], true)) {
    $_SESSION = [];
} else {
    session_save_path(state_dir());
    ini_set('session.use_cookies', '0');
    session_id('demo');
    session_start();
}
$_SESSION['uid'] = login()['client'];
load_config();
if (isset($_GET['language']) && is_string($_GET['language'])) {
    $_SESSION['Language'] = $_GET['language']; // the visitor's choice for this visit
}

if (theme_file($path)) {
    // a real theme's
} elseif ($path === '/health') {
    echo 'ok';
} elseif ($path === '/includes/api.php') {
    remote_api($_POST + $_GET);
} elseif ($path === '/test/order') {
    json_reply(order(json_decode(file_get_contents('php://input'), true)));
} elseif ($path === '/test/module') {
    $call = json_decode(file_get_contents('php://input'), true);
    unset($_SESSION['uid']);
    json_reply(['result' => run_module((int) $call['serviceid'], $call['action'])]);
} elseif ($path === '/test/token') {
    echo generate_token();
} elseif ($path === '/test/shop') {
    $shop = json_decode(file_get_contents('php://input'), true); // `products` and `options` by id
    change_state(function (&$state) use ($shop) {
        foreach (['products', 'options'] as $what) {
            $state[$what] = ($shop[$what] ?? []) + ($state[$what] ?? []);
        }
    });
    json_reply(['result' => 'success']);
} elseif ($path === '/test/tables') {
    json_reply(give_tables(json_decode(file_get_contents('php://input'), true)));
} elseif ($path === '/test/cron') { // the daily one, in a process without a request
    list($_SESSION, $_GET, $_POST, $_COOKIE) = [[], [], [], []];
    load_hooks();
    run_hooks('DailyCronJob', []);
    json_reply(['result' => 'success']);
} elseif ($path === '/test/addon') { // staff switches it on, takes a newer one, or switches it off
    require_once HOME_ADDON . 'vmbridgehome.php';
    $call = json_decode(file_get_contents('php://input'), true);
    json_reply(['answer' => call_user_func('vmbridgehome_' . $call['what'], ['version' => '0.1.0'])]);
} elseif ($path === '/test/login') {
    json_reply(log_in(json_decode(file_get_contents('php://input'), true)));
} elseif ($path === '/test/ticket') { // staff sets a ticket's status
    $call = json_decode(file_get_contents('php://input'), true);
    change_state(function (&$state) use ($call) {
        $state['tickets'][(int) $call['id'] - 1]['status'] = $call['status'];
    });
    json_reply(['result' => 'success']);
} elseif ($path === '/test/upgrade') {
    $call = json_decode(file_get_contents('php://input'), true);
    json_reply(upgrade((int) $call['serviceid'], (int) $call['pid'], $call['columns']));
} elseif ($path === '/test/edit') {
    $call = json_decode(file_get_contents('php://input'), true);
    json_reply(edit_service((int) $call['serviceid'], $call['domain']));
} elseif ($path === '/test/call') {
    $call = json_decode(file_get_contents('php://input'), true);
    load_module();
    $params = isset($call['serviceid']) ? params((int) $call['serviceid']) : server_params($call['server'] ?? 1);
    try {
        $result = call_user_func('vmbridge_' . $call['function'], $params);
    } catch (Exception $e) {
        $result = $e->getMessage(); // a loader's, which WHMCS shows; nothing else throws
    }
    json_reply(['result' => $result]);
} elseif ($path === '/test/metrics') {
    $call = json_decode(file_get_contents('php://input'), true);
    json_reply(['kept' => collect_metrics((int) ($call['serviceid'] ?? 0))]);
} elseif ($path === '/test/metric_list') {
    json_reply(array_map(function ($metric) {
        return [$metric->displayName(), $metric->type(), get_class($metric->units()), $metric->usage()];
    }, provider()->metrics()));
} elseif ($path === '/test/log') {
    json_reply(state());
} elseif ($path === '/clientarea.php' || $path === '/') {
    if (dispatched(CLIENT_ACTIONS, CLIENT_NAMES)) {
        client_area();
    }
} elseif ($path === '/index.php') {
    if (dispatched([''], ['m', 'token', 'language'])) {
        addon_client_page();
    }
} elseif ($path === '/viewinvoice.php') {
    if (dispatched([''], ['id'])) {
        invoice_page();
    }
} elseif ($path === '/user/accounts') {
    if (dispatched([''], ['id', 'token'])) {
        switch_account();
    }
} elseif (in_array($path, WHMCS_PAGES, true) || strpos($path, '/user/') === 0 || strpos($path, '/account/') === 0) {
    if ($_SERVER['REQUEST_METHOD'] === 'POST') {
        check_token(); // as each form of WHMCS's own has it
    }
    frame('WHMCS', 'A page of WHMCS\'s own.');
} elseif ($path === '/upgrade.php') {
    upgrade_page();
} elseif ($path === '/admin/service.php') {
    if (dispatched([''], ADMIN_NAMES)) {
        admin_page();
    }
} elseif ($path === '/admin/clientsservices.php') {
    header('Location: /admin/service.php?id=' . (int) ($_GET['id'] ?? 0), true, 303);
} elseif ($path === '/admin/addonmodules.php') {
    if (dispatched([''], ADMIN_NAMES)) {
        addon_page();
    }
} elseif (
    preg_match('#^/assets/([\w./@-]+)$#', $path, $m) && strpos($m[1], '..') === false
        && is_file(__DIR__ . '/../../node_modules/' . $m[1])) {
    header('Content-Type: ' . (substr($m[1], -4) === '.css' ? 'text/css' : 'application/octet-stream'));
    readfile(__DIR__ . '/../../node_modules/' . $m[1]);
} else {
    http_response_code(404);
    echo 'not found';
}
