<?php

/**
 * WHMCS hooks: the early welcome mail is held until the server is ready, passwords stay out of the mail history, pages
 * have titles and come before WHMCS's menus on a phone, and an upgrade is checked and explained before it is ordered.
 */

if (!defined('WHMCS')) {
    die('This file cannot be accessed directly');
}

add_hook('EmailPreSend', 1, function ($vars) {
    try {
        $class = 'WHMCS\\Module\\Server\\Vmbridge\\Module';
        $service = (int) (isset($vars['relid']) ? $vars['relid'] : 0);
        // only in the PHP process that ran CreateAccount, and only once: a later manual resend goes out
        $name = isset($vars['messagename']) ? (string) $vars['messagename'] : '';
        if (class_exists($class, false) && isset($class::$held[$service]) && $class::$held[$service] === $name) {
            unset($class::$held[$service]);
            return ['abortsend' => true];
        }
    } catch (\Throwable $e) {
        return [];
    }
    return [];
});

// each of our pages has a title of its own; asked by WHMCS behind the module, on pages of a product only
add_hook('ClientAreaPageProductDetails', 1, function ($vars) {
    $class = 'WHMCS\\Module\\Server\\Vmbridge\\Page';
    $title = class_exists($class, false) ? $class::$title : '';
    return $title === '' ? [] : ['pagetitle' => $title];
});

// what moves WHMCS's menus stands before them in the page; asked on every page of the client area, where the module was
// not asked there is nothing to say
add_hook('ClientAreaHeadOutput', 1, function ($vars) {
    $class = 'WHMCS\\Module\\Server\\Vmbridge\\Page';
    return class_exists($class, false) ? $class::head() : '';
});

add_hook('EmailPreLog', 1, function ($vars) {
    try {
        $message = isset($vars['message']) ? (string) $vars['message'] : '';
        if (strpos($message, 'vmbridge:secret') !== false) {
            return ['message' => 'This message held a password and is not kept here.'];
        }
        // WHMCS's own welcome mail names the first password too
        $client = (int) (isset($vars['userid']) ? $vars['userid'] : 0);
        if ($client !== 0 && $message !== '') {
            require_once __DIR__ . '/lib/BridgeException.php';
            require_once __DIR__ . '/lib/Bridge.php';
            require_once __DIR__ . '/lib/Records.php';
            $hidden = $message;
            foreach (WHMCS\Module\Server\Vmbridge\Records::passwordsOf($client) as $password) {
                $hidden = str_replace(
                    [$password, htmlspecialchars($password, ENT_QUOTES, 'UTF-8')], '********', $hidden);
            }
            if ($hidden !== $message) {
                return ['message' => $hidden];
            }
        }
    } catch (\Throwable $e) {
        return ['abortLogging' => true];
    }
    return [];
});

// what cannot be is refused before it is paid; when the bridge cannot be asked the upgrade goes on (ChangePackage
// refuses it)
add_hook('ShoppingCartValidateUpgrade', 1, function ($vars) {
    try {
        $service = (int) (isset($vars['id']) ? $vars['id'] : 0);
        $product = (int) (isset($vars['pid']) ? $vars['pid'] : 0);
        if ($service === 0 || $product === 0) {
            return [];
        }
        require_once __DIR__ . '/vmbridge.php';
        return WHMCS\Module\Server\Vmbridge\Module::upgradeErrors($service, $product);
    } catch (\Throwable $e) {
        return [];
    }
});

// what the upgrade does to the server, on its summary; this runs on every page of the client area, so any other page is
// left at once
add_hook('ClientAreaFooterOutput', 1, function ($vars) {
    if (!isset($vars['filename'], $vars['upgrades']) || $vars['filename'] !== 'upgrade' || empty($vars['upgrades'])) {
        return '';
    }
    try {
        require_once __DIR__ . '/vmbridge.php';
        return WHMCS\Module\Server\Vmbridge\UpgradeNotice::of($vars);
    } catch (\Throwable $e) {
        return '';
    }
});

// a save of a service by staff: another domain is the server's new name. Of each pair the other one may be the one that
// this WHMCS has
foreach (
    ['PreServiceEdit' => 'beforeEdit', 'PreAdminServiceEdit' => 'beforeEdit', 'ServiceEdit' => 'afterEdit',
        'AdminServiceEdit' => 'afterEdit'] as $point => $name) {
    add_hook($point, 1, function ($vars) use ($name) {
        try {
            $service = (int) (is_array($vars) && isset($vars['serviceid']) ? $vars['serviceid'] : 0);
            if ($service !== 0) {
                require_once __DIR__ . '/vmbridge.php';
                WHMCS\Module\Server\Vmbridge\Rename::$name($service);
            }
        } catch (\Throwable $e) {
            return [];
        }
        return [];
    });
}
