<?php

/**
 * vmbridge's page for WHMCS's admins. It keeps no tables and no settings: the bridge renders, the server record
 * of the server module says where it is. The server module's functions have this prefix too: add no name that it has.
 */

if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

require_once __DIR__ . '/../../servers/vmbridge/lib/BridgeException.php';
require_once __DIR__ . '/../../servers/vmbridge/lib/Bridge.php';
require_once __DIR__ . '/../../servers/vmbridge/lib/Fields.php';
require_once __DIR__ . '/../../servers/vmbridge/lib/Records.php';
require_once __DIR__ . '/lib/Admin.php';

use WHMCS\Module\Addon\Vmbridge\Admin;

function vmbridge_config()
{
    return [
        'name' => 'vmbridge',
        'description' => 'Operations, servers, address pools and findings of the vmbridge service.',
        'version' => '0.1.0',
        'author' => 'The vmbridge authors',
        'language' => 'english',
        'fields' => [],
    ];
}

function vmbridge_activate()
{
    return ['status' => 'success', 'description' => 'Choose under Access Control who may see it.'];
}

function vmbridge_deactivate()
{
    return ['status' => 'success', 'description' => 'Nothing was removed: it keeps no data in WHMCS.'];
}

function vmbridge_output($vars)
{
    echo Admin::output(is_array($vars) ? $vars : []);
}
