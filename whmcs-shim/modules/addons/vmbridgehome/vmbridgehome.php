<?php

/**
 * vmbridge's dashboard for WHMCS's clients: one read of WHMCS's tables, one signed call, one page. It keeps two tables:
 * which clients want a mail before their credit runs out, and a bridge that does not answer. It has a folder of its own
 * since `vmbridge_clientarea` and the server module's `vmbridge_ClientArea` are one name for PHP.
 */

if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

require_once __DIR__ . '/lib/Home.php';

use WHMCS\Module\Addon\Vmbridgehome\Calls;
use WHMCS\Module\Addon\Vmbridgehome\Home;
use WHMCS\Module\Addon\Vmbridgehome\Warnings;

function vmbridgehome_config()
{
    return [
        'name' => 'vmbridge dashboard',
        'description' => 'Balance, costs, coming charges and top-ups in the client area.',
        'version' => '0.1.0',
        'author' => 'The vmbridge authors',
        'language' => 'english',
        'fields' => [
            'where' => [
                'FriendlyName' => 'Where it appears', 'Type' => 'dropdown', 'Options' => 'both,home block,own page',
                'Default' => 'both',
                'Description' => 'On WHMCS\'s home page, as a page of its own, or both',
            ],
            'landing' => [
                'FriendlyName' => 'Landing page', 'Type' => 'yesno',
                'Description' => 'After login clients come to the dashboard instead of WHMCS\'s home page',
            ],
            'horizon' => [
                'FriendlyName' => 'Days ahead', 'Type' => 'dropdown', 'Options' => '30,90,365', 'Default' => '30',
                'Description' => 'How far the recommended top-up reaches',
            ],
            'server' => [
                'FriendlyName' => 'Server record', 'Type' => 'text', 'Size' => '6', 'Default' => '',
                'Description' => 'Id of the server of type vmbridge that is asked. Blank: the first active one',
            ],
        ],
    ];
}

function vmbridgehome_activate()
{
    try {
        Warnings::make();
        Calls::make();
    } catch (\Throwable $e) {
        return ['status' => 'error', 'description' => 'The tables ' . Warnings::TABLE . ' and ' . Calls::TABLE
            . ' could not be made: WHMCS\'s database user needs the right to create tables.'];
    }
    return ['status' => 'success', 'description' => 'Clients see the dashboard from now on. Its settings say where.'];
}

function vmbridgehome_upgrade($vars)
{
    try {
        Warnings::make();
        Calls::make();
    } catch (\Throwable $e) {
        return; // they are made by the first client who wants a mail, and by the first call that fails
    }
}

function vmbridgehome_deactivate()
{
    return ['status' => 'success',
        'description' => 'Which clients want a mail before their credit runs out stays in the table ' . Warnings::TABLE
            . '. Drop it, and ' . Calls::TABLE . ', where you do not come back.'];
}

function vmbridgehome_clientarea($vars)
{
    return Home::clientArea(is_array($vars) ? $vars : []);
}
