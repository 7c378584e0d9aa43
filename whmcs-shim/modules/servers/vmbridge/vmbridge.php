<?php

/**
 * vmbridge for WHMCS: each function is one call of the bridge. Only what works is defined here,
 * since WHMCS shows a button for every function that exists.
 */

if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

require_once __DIR__ . '/lib/BridgeException.php';
require_once __DIR__ . '/lib/Bridge.php';
require_once __DIR__ . '/lib/Fields.php';
require_once __DIR__ . '/lib/Files.php';
require_once __DIR__ . '/lib/Params.php';
require_once __DIR__ . '/lib/Page.php';
require_once __DIR__ . '/lib/Records.php';
require_once __DIR__ . '/lib/Rename.php';
require_once __DIR__ . '/lib/Module.php';
require_once __DIR__ . '/lib/UpgradeNotice.php';
require_once __DIR__ . '/lib/Usage.php';
require_once __DIR__ . '/lib/Visitor.php';

use WHMCS\Module\Server\Vmbridge\Module;
use WHMCS\Module\Server\Vmbridge\Usage;

function vmbridge_MetaData()
{
    return [
        'DisplayName' => 'vmbridge',
        'APIVersion' => '1.1',
        'RequiresServer' => true,
        'DefaultNonSSLPort' => '8080',
        'DefaultSSLPort' => '443',
        'ListAccountsUniqueIdentifierDisplayName' => 'Service ID',
        'ListAccountsUniqueIdentifierField' => 'customfield.vmbridge_id',
        'ListAccountsProductField' => 'configoption1',
    ];
}

/** Positions are for ever: WHMCS stores values by position. */
function vmbridge_ConfigOptions()
{
    $text = function ($name, $description, $simple = false) {
        return ['FriendlyName' => $name, 'Type' => 'text', 'Size' => '25', 'Description' => $description,
            'SimpleMode' => $simple];
    };
    $options = [
        'plan' =>
            ['FriendlyName' => 'Plan', 'Type' => 'text', 'Size' => '25', 'Loader' => 'vmbridge_PlanLoader',
                'SimpleMode' => true],
        'location' => $text('Location', 'Blank: the plan\'s'),
        'templates' =>
            $text('OS templates', 'Names separated by commas; the first is the default. Blank: the plan\'s', true),
        'cores' => $text('CPU cores', 'Blank: the plan\'s', true),
        'ram' => $text('RAM GiB', 'Blank: the plan\'s', true),
        'disk' => $text('System disk GiB', 'Blank: the plan\'s', true),
        'additional_disk' => $text('Additional disk GiB', '0: none'),
        'network' => $text('Network Mbit/s', 'Blank: the plan\'s; 0: unlimited', true),
        'extra_ipv4' => $text('Extra IPv4', '0: none'),
        'extra_ipv6' => $text('Extra IPv6', '0: none'),
        'backups' => $text('Backup quota', '0: none'),
        'snapshots' => $text('Snapshot quota', '0: none'),
        'snapshot_lifetime' => $text('Snapshot lifetime h', '0: unlimited'),
        'rdns_department' => $text('Reverse-DNS ticket department', 'Blank: none'),
    ];
    foreach (
        ['console', 'charts', 'reinstall', 'snapshots', 'backups', 'reset_password', 'rdns', 'iso',
            'firewall'] as $name) {
        $options['allow_' . $name] = [
            'FriendlyName' => 'Client may use: ' . $name, 'Type' => 'dropdown', 'Options' => 'plan,allow,deny',
            'Default' => 'plan',
        ];
    }
    return $options;
}

function vmbridge_PlanLoader(array $params)
{
    return Module::plans($params);
}

function vmbridge_CreateAccount(array $params)
{
    return Module::call($params, 'create');
}

function vmbridge_SuspendAccount(array $params)
{
    return Module::call($params, 'suspend');
}

function vmbridge_UnsuspendAccount(array $params)
{
    return Module::call($params, 'unsuspend');
}

function vmbridge_TerminateAccount(array $params)
{
    return Module::call($params, 'terminate');
}

/** A smaller package that cannot be is refused with the reason; nothing is changed then. */
function vmbridge_ChangePackage(array $params)
{
    return Module::call($params, 'change_package');
}

function vmbridge_ChangePassword(array $params)
{
    return Module::call($params, 'change_password');
}

function vmbridge_ListAccounts(array $params)
{
    return Module::listAccounts($params);
}

function vmbridge_UsageUpdate(array $params)
{
    Usage::update($params);
}

function vmbridge_MetricProvider(array $params)
{
    return Usage::provider($params);
}

function vmbridge_TestConnection(array $params)
{
    return Module::testConnection($params);
}

function vmbridge_ClientArea(array $params)
{
    return Module::clientArea($params);
}

function vmbridge_submit(array $params)
{
    return Module::submit($params);
}

function vmbridge_ClientAreaCustomButtonArray($params = [])
{
    return ['Start' => 'start', 'Stop' => 'stop', 'Restart' => 'reboot'];
}

function vmbridge_ClientAreaAllowedFunctions($params = [])
{
    return ['submit', 'hard_stop'];
}

function vmbridge_AdminCustomButtonArray($params = [])
{
    return ['Start' => 'start', 'Stop' => 'stop', 'Restart' => 'reboot', 'Retry' => 'retry', 'Cancel' => 'cancel',
        'Converge' => 'converge'];
}

function vmbridge_start(array $params)
{
    return Module::clientVerb($params, 'start');
}

function vmbridge_stop(array $params)
{
    return Module::clientVerb($params, 'stop');
}

function vmbridge_reboot(array $params)
{
    return Module::clientVerb($params, 'reboot');
}

function vmbridge_hard_stop(array $params)
{
    return Module::clientVerb($params, 'hard_stop');
}

function vmbridge_retry(array $params)
{
    return Module::call($params, 'retry');
}

function vmbridge_cancel(array $params)
{
    return Module::call($params, 'cancel');
}

function vmbridge_converge(array $params)
{
    return Module::call($params, 'converge');
}

function vmbridge_AdminServicesTabFields(array $params)
{
    return Module::adminTab($params);
}
