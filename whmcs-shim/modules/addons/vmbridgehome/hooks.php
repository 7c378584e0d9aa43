<?php

/**
 * WHMCS hooks of the dashboard: its block on the home page, the landing page, its entries in the menu, and what the
 * daily cron tells the bridge. Each is quiet when something is wrong: WHMCS's own page, and its cron, are then as they
 * are without us.
 */

if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

add_hook('ClientAreaHomepage', 1, function () {
    try {
        require_once __DIR__ . '/lib/Home.php';
        return WHMCS\Module\Addon\Vmbridgehome\Home::block();
    } catch (\Throwable $e) {
        return '';
    }
});

// it may run for the public start page too: only who is logged in, on that one page, and not who asked for WHMCS's own
add_hook('ClientAreaPageHome', 1, function ($vars) {
    $file = is_array($vars) && isset($vars['templatefile']) ? $vars['templatefile'] : '';
    try {
        if ($file === 'clientareahome') {
            require_once __DIR__ . '/lib/Home.php';
            WHMCS\Module\Addon\Vmbridgehome\Home::land();
        }
    } catch (\Throwable $e) {
        return [];
    }
    return [];
});

add_hook('ClientAreaPrimaryNavbar', 1, function ($bar) {
    try {
        require_once __DIR__ . '/lib/Home.php';
        WHMCS\Module\Addon\Vmbridgehome\Home::menu($bar);
    } catch (\Throwable $e) {
        return;
    }
});

// clients who want a mail before their credit runs out: one call a day
add_hook('DailyCronJob', 1, function () {
    try {
        require_once __DIR__ . '/lib/Home.php';
        WHMCS\Module\Addon\Vmbridgehome\Warnings::daily();
    } catch (\Throwable $e) {
        return;
    }
});
