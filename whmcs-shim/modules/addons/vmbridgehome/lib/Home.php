<?php

namespace WHMCS\Module\Addon\Vmbridgehome;

// What signs and reads is the server module's where that is installed: one class, whoever loads it first. A module of
// another release may lack a file; ours stands in then, since a missing one is fatal.
foreach (['BridgeException', 'Bridge', 'Fields', 'Files', 'Records'] as $vmbridgehomeFile) {
    $vmbridgehomePath = __DIR__ . '/../../../servers/vmbridge/lib/' . $vmbridgehomeFile . '.php';
    if (!class_exists('WHMCS\\Module\\Server\\Vmbridge\\' . $vmbridgehomeFile, false)) {
        require_once is_file($vmbridgehomePath) ? $vmbridgehomePath : __DIR__ . '/shared/' . $vmbridgehomeFile . '.php';
    }
}
unset($vmbridgehomePath, $vmbridgehomeFile);
require_once __DIR__ . '/Access.php';
require_once __DIR__ . '/Calls.php';
require_once __DIR__ . '/Reader.php';
require_once __DIR__ . '/Warnings.php';
require_once __DIR__ . '/Words.php';

use WHMCS\Database\Capsule;
use WHMCS\Module\Server\Vmbridge\Bridge;
use WHMCS\Module\Server\Vmbridge\BridgeException;
use WHMCS\Module\Server\Vmbridge\Fields;
use WHMCS\Module\Server\Vmbridge\Files;

/**
 * The dashboard in WHMCS's pages: the block of the home page, the pages of our own, what is downloaded. When the bridge
 * does not answer, WHMCS's own links and the credit stand there; a page is never blank. Nothing here throws.
 */
class Home
{
    const HOME_SECONDS = 1.5;
    const SECONDS = 3;
    const KEPT = 60; // seconds that the home page's block is kept in the session
    const ADDRESS = 'index.php?m=vmbridgehome';
    const PAGES = ['dashboard', 'list', 'addfunds', 'hub', 'ledger', 'verification', 'whatif', 'csv', 'calendar'];
    /** What of an address the bridge may see, and its form. */
    const ASK = [
        'show' => '/\A(all|active|suspended|ending|attention)\z/', 'family' => '/\A(g\d{1,9}|domains)\z/',
        'horizon' => '/\A(30|90|365)\z/',
        'month' => '/\A[12]\d{3}-(0[1-9]|1[0-2])\z/', 'tax' => '/\A(with|without)\z/', 'service' => '/\A\d{1,9}\z/',
        'product' => '/\A\d{1,9}\z/',
        'cycle' => '/\A[a-z]{1,20}\z/', 'by' => '/\A(name|cost|next)\z/', 'amount' => '/\A\d{1,9}([.,]\d{1,2})?\z/',
        'kept' => '/\A1\z/', 'skip' => '/\A\d{1,6}\z/',
    ];
    const NUMBERS = ['horizon', 'service', 'product', 'kept', 'skip'];
    const FILES = ['csv', 'calendar'];
    const MOST_OF_FILES = 4194304; // bytes; of a page Bridge::MAX_REPLY
    // WHMCS's: digits, point, thousands
    const FORMATS = [1 => [2, '.', ''], 2 => [2, '.', ','], 3 => [2, ',', '.'], 4 => [0, '', ',']];
    /** HTML for WHMCS's home page; empty where nothing is to be shown. */
    public static function block()
    {
        $access = null;
        try {
            if (self::setting('where', 'both') === 'own page') {
                return '';
            }
            $access = Access::current();
            if ($access === null) {
                return '';
            }
            $kept = isset($_SESSION['vmbridgehome']) && is_array($_SESSION['vmbridgehome']) ? $_SESSION['vmbridgehome']
                : [];
            if (isset($kept['failed']) && $kept['failed'] + Calls::PAUSE > time()) {
                throw new BridgeException('This visitor has just waited for it in vain.');
            }
            $marks = (new Reader($access))->marks(); // what the client does by himself is seen at once
            $key = hash(
                'sha256',
                json_encode(
                    [$access->user ? (int) $access->user->id : 0, (array) $access->client, $marks, $access->may,
                        Words::language($access), self::theme(), Fields::had()]));
            if (isset($kept['key'], $kept['until'], $kept['html']) && $kept['key'] === $key
                && $kept['until'] > time()) {
                return self::filled($kept['html']);
            }
            $_SESSION['vmbridgehome'] = ['failed' => time()]; // also where PHP's own limit ends the request
            $reply = self::ask($access, 'home', [], self::HOME_SECONDS);
            $_SESSION['vmbridgehome'] = ['key' => $key, 'until' => time() + self::KEPT, 'html' => $reply['html']];
            return self::filled($reply['html']);
        } catch (\Throwable $e) {
            return self::fallback($access, $e, 'home');
        }
    }

    /** WHMCS's page `index.php?m=vmbridgehome`. */
    public static function clientArea(array $vars)
    {
        $page = 'dashboard';
        $title = Words::said('vmbridgehome_dashboard');
        $access = null;
        try {
            $fields = Fields::of($_GET);
            $wanted = Fields::word($fields, 'page');
            if ($wanted === 'asset') {
                Files::send(
                    self::server(), Fields::word($fields, 'file', '/\A[a-z.]{1,20}\z/'),
                    Fields::word($fields, 'v', '/\A[0-9a-f]{16}\z/'), self::SECONDS);
            }
            $page = in_array($wanted, self::PAGES, true) ? $wanted : 'dashboard';
            $access = Access::current();
            if ($access === null) {
                return self::page(
                    $title, '<div class="alert alert-warning">' . Words::escape(Words::said('vmbridgehome_none'))
                        . '</div>');
            }
            if (isset($_SERVER['REQUEST_METHOD']) && $_SERVER['REQUEST_METHOD'] === 'POST' && !self::choose($access)) {
                return self::page(
                    $title, '<div class="alert alert-danger">' . Words::escape(Words::said('vmbridgehome_not_kept'))
                        . '</div>');
            }
            $reply = self::ask(
                $access, $page, self::asked($fields), self::SECONDS, Fields::word($fields, 'again', '/\A1\z/') !== '');
            if (in_array($page, self::FILES, true)) {
                self::download($reply);
            }
            $title = isset($reply['title']) && is_string($reply['title']) && $reply['title'] !== '' ? $reply['title']
                : $title;
            return self::page($title, self::filled($reply['html']), $page);
        } catch (\Throwable $e) {
            return self::page($title, self::fallback($access, $e, $page), $page);
        }
    }

    /** The one form of ours: when a mail is wanted. Ends the request, but for a choice that cannot be kept: false. */
    private static function choose(Access $access)
    {
        if (!function_exists('check_token')) {
            return false;
        }
        check_token('WHMCS.default'); // WHMCS ends the request where it is wrong
        $days = Fields::word(Fields::of($_POST), 'warn', '/\A(0|1|3|7|14)\z/');
        $known = $days !== '' && $access->may('invoices');
        try {
            if ($known) {
                Warnings::choose((int) $access->client->id, (int) $days);
            }
        } catch (\Throwable $e) {
            if (function_exists('logActivity')) {
                logActivity(
                    'vmbridge: a client\'s wish for a mail before credit runs out could not be kept in '
                        . Warnings::TABLE . ': ' . get_class($e));
            }
            return false;
        }
        header('Location: ' . self::ADDRESS . Fields::query(['page' => 'addfunds', 'kept' => $known ? '1' : '']), true,
            303);
        exit;
    }

    /** After login, where staff wished it: the dashboard instead of WHMCS's home page. */
    public static function land()
    {
        $get = !isset($_SERVER['REQUEST_METHOD']) || $_SERVER['REQUEST_METHOD'] === 'GET';
        if (!$get || Fields::of($_GET) !== [] || self::setting('landing') !== 'on'
            || self::setting('where', 'both') === 'home block') {
            return;
        }
        if (!(new \WHMCS\Authentication\CurrentUser())->client() || headers_sent()) {
            return;
        }
        header('Location: ' . self::ADDRESS, true, 303);
        exit;
    }

    /** The dashboard as the first entry of the menu, the ledger below WHMCS's Billing. */
    public static function menu($bar)
    {
        if (!is_object($bar) || self::setting('where', 'both') === 'home block'
            || !(new \WHMCS\Authentication\CurrentUser())->client()) {
            return;
        }
        $entry = $bar->addChild(
            'vmbridgehome', ['label' => Words::said('vmbridgehome_dashboard'), 'uri' => self::ADDRESS, 'order' => 1]);
        if (is_object($entry) && method_exists($entry, 'moveToFront')) {
            $entry->moveToFront();
        }
        $billing = $bar->getChild('Billing');
        if ($billing) {
            $billing->addChild(
                'vmbridgehome-ledger',
                ['label' => Words::said('vmbridgehome_ledger'), 'uri' => self::ADDRESS
                    . Fields::query(['page' => 'ledger']), 'order' => 90]);
        }
    }

    /** One signed call: {html, title} or {text, name, type}. Throws BridgeException. */
    private static function ask(Access $access, $page, array $ask, $seconds, $again = false)
    {
        if (!isset($ask['horizon'])) {
            $horizon = (int) self::setting('horizon', '30');
            $ask['horizon'] = in_array($horizon, [30, 90, 365], true) ? $horizon : 30;
        }
        $calls = Calls::of((int) self::setting('server'));
        if (!$calls->open($again)) {
            throw new BridgeException('The bridge has not answered others just now.');
        }
        $body = (new Reader($access))->body($page, $ask, self::urls());
        $query = http_build_query(
            ['language' => Words::language($access), 'theme' => self::theme(), 'have' => Fields::had()]);
        $file = in_array($page, self::FILES, true);
        try {
            list(, $reply) = (new Bridge($calls->params()))->call(
                'POST', '/v1/dashboard/' . $page . '?' . $query, $body, $seconds, [],
                $file ? self::MOST_OF_FILES : Bridge::MAX_REPLY);
        } catch (BridgeException $e) {
            $calls->failed($e, (int) $access->client->id);
            throw $e;
        }
        $calls->answered();
        $wanted = $file ? 'text' : 'html';
        if (!isset($reply[$wanted]) || !is_string($reply[$wanted]) || $reply[$wanted] === '') {
            throw Bridge::unexpected();
        }
        unset($_SESSION['vmbridgehome']['failed']); // it is back: the home page need not wait for its time
        return $reply;
    }

    private static function asked($fields)
    {
        $ask = [];
        foreach (self::ASK as $name => $form) {
            $value = Fields::word($fields, $name, $form);
            if ($value !== '') {
                $ask[$name] = in_array($name, self::NUMBERS, true) ? (int) $value : $value;
            }
        }
        return $ask;
    }

    /** WHMCS's server keys of the bridge that is asked. */
    public static function server()
    {
        return Calls::of((int) self::setting('server'))->params();
    }

    /** Settings as WHMCS keeps them; the same for hooks, which get none. */
    private static function setting($name, $default = '')
    {
        static $settings = null;
        if ($settings === null) {
            $settings = [];
            foreach (
                Capsule::table('tbladdonmodules')->where('module', 'vmbridgehome')->get(['setting', 'value']) as $row) {
                $settings[(string) $row->setting] = trim((string) $row->value);
            }
        }
        return isset($settings[$name]) && $settings[$name] !== '' ? $settings[$name] : $default;
    }

    /** Addresses of WHMCS's own pages; those of routes depend on its settings, so WHMCS makes them. */
    private static function urls()
    {
        $urls = [
            'home' => 'clientarea.php?vmb[home]=1', 'details' => 'clientarea.php?action=details',
            'invoices' => 'clientarea.php?action=invoices',
            'services' => 'clientarea.php?action=services', 'domains' => 'clientarea.php?action=domains',
            'masspay' => 'clientarea.php?action=masspay',
            'addfunds' => 'clientarea.php?action=addfunds', 'emails' => 'clientarea.php?action=emails',
            'invoice' => 'viewinvoice.php?id=',
            'service' => 'clientarea.php?action=productdetails&id=',
            'domain' => 'clientarea.php?action=domaindetails&id=',
            'cancel' => 'clientarea.php?action=cancel&id=', 'upgrade' => 'upgrade.php?type=package&id=',
            'pdf' => 'dl.php?type=i&id=',
            'order' => 'cart.php', 'ticket' => 'submitticket.php', 'logout' => 'logout.php',
            'quotes' => 'clientarea.php?action=quotes',
        ];
        $routes = [
            'profile' => 'user-profile', 'password' => 'user-password', 'security' => 'user-security',
            'accounts' => 'user-accounts', 'contacts' => 'account-contacts',
            'users' => 'account-users', 'paymethods' => 'account-paymentmethods',
            'paymethod_add' => 'account-paymentmethods-add', 'verify' => 'user-email-verification-resend',
        ];
        foreach (function_exists('routePath') ? $routes : [] as $name => $route) {
            $urls[$name] = (string) routePath($route);
        }
        return $urls;
    }

    /** What is downloaded; ends the request. */
    private static function download(array $reply)
    {
        while (ob_get_level() > 0) {
            ob_end_clean();
        }
        $calendar = isset($reply['type']) && $reply['type'] === 'text/calendar';
        $name = isset($reply['name']) && is_string($reply['name'])
            && preg_match('/\A[\w-]{1,60}\.(csv|ics)\z/', $reply['name']) ? $reply['name'] : 'download.txt';
        header('Content-Type: ' . ($calendar ? 'text/calendar' : 'text/csv') . '; charset=utf-8');
        header('Content-Disposition: attachment; filename="' . $name . '"');
        header('Cache-Control: no-store');
        header('X-Content-Type-Options: nosniff');
        echo $reply['text'];
        exit;
    }

    private static function page($title, $html, $page = 'dashboard')
    {
        $path = [self::ADDRESS => Words::said('vmbridgehome_dashboard')];
        if ($page !== 'dashboard') {
            $path[self::ADDRESS . Fields::query(['page' => $page])] = $title;
        }
        return [
            'pagetitle' => $title, 'breadcrumb' => $path, 'templatefile' => 'templates/dashboard',
            'requirelogin' => true, 'forcessl' => true,
            'vars' => ['vmbridgeHtml' => $html],
        ];
    }

    /** The bridge does not answer: WHMCS's own links and, for who may see it, the credit. */
    private static function fallback($access, \Throwable $e, $page)
    {
        if (!$e instanceof BridgeException && function_exists('logActivity')) {
            logActivity('vmbridge: the dashboard failed in the module: ' . get_class($e));
        }
        $money = $access instanceof Access && $access->may('invoices');
        $links = [
            'services' => $access instanceof Access && $access->may('products'), 'invoices' => $money,
            'addfunds' => $money, 'details' => true];
        $html = '';
        foreach (array_keys(array_filter($links)) as $name) {
            $html .= '<a class="btn btn-default btn-light" href="clientarea.php?action=' . $name . '">'
                . Words::escape(Words::said('vmbridgehome_' . $name)) . '</a> ';
        }
        if ($page !== 'home') {
            $html .= '<a class="btn btn-default btn-light" href="' . self::ADDRESS
                . Fields::query(['page' => $page === 'dashboard' ? '' : $page, 'again' => '1']) . '">'
                . Words::escape(Words::said('vmbridgehome_again')) . '</a>';
        }
        $reference = $e instanceof BridgeException && $e->reference() !== '' ? ' ('
            . Words::said('vmbridgehome_reference') . ' ' . $e->reference() . ')' : '';
        $credit = $money ? '<p>' . Words::escape(Words::said('vmbridgehome_credit')) . ': <strong>'
            . Words::escape(self::money($access->client)) . '</strong></p>' : '';
        return '<div class="card panel panel-default vmbridgehome-fallback"><div class="card-body panel-body"><p>'
            . Words::escape(Words::said('vmbridgehome_down') . $reference) . '</p>'
            . $credit . '<p style="display:flex;flex-wrap:wrap;gap:8px;margin:0">' . $html . '</p></div></div>';
    }

    /** As WHMCS writes it for the client's currency (bridge/costs/money.py has the same). */
    private static function money($client)
    {
        $amount = (float) $client->credit;
        $format = isset(self::FORMATS[(int) $client->format]) ? self::FORMATS[(int) $client->format] : self::FORMATS[1];
        $sign = round($amount, $format[0]) < 0 ? '-' : '';
        return trim(
            $sign . Bridge::plain($client->prefix) . number_format(abs($amount), $format[0], $format[1], $format[2])
                . Bridge::plain($client->suffix));
    }

    /** bs3 for Six and what is made from it, else bs4. */
    private static function theme()
    {
        $name = '';
        if (isset($GLOBALS['smarty']) && is_object($GLOBALS['smarty'])
            && method_exists($GLOBALS['smarty'], 'getTemplateVars')) {
            $name = (string) $GLOBALS['smarty']->getTemplateVars('template');
        }
        if ($name === '' && isset($GLOBALS['CONFIG']['Template'])) {
            $name = (string) $GLOBALS['CONFIG']['Template'];
        }
        return $name === 'six' ? 'bs3' : 'bs4';
    }

    /** The two things that only WHMCS knows. */
    private static function filled($html)
    {
        $token = function_exists('generate_token') ? (string) generate_token('plain') : '';
        return strtr(
            $html, ['%%VMBRIDGE_TOKEN%%' => Words::escape($token), '%%VMBRIDGE_URL%%' => Words::escape(self::ADDRESS)]);
    }
}
