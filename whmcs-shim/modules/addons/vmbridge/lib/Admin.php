<?php

namespace WHMCS\Module\Addon\Vmbridge;

use WHMCS\Database\Capsule;
use WHMCS\Module\Server\Vmbridge\Bridge;
use WHMCS\Module\Server\Vmbridge\BridgeException;
use WHMCS\Module\Server\Vmbridge\Fields;
use WHMCS\Module\Server\Vmbridge\Records;

/**
 * One page of the bridge inside WHMCS's addon page. Nothing here throws, and a page waits no longer than SECONDS,
 * a form no longer than FORM_SECONDS.
 */
class Admin
{
    const SECONDS = 3;
    const FORM_SECONDS = 8; // a store that is busy says so after some seconds, and what was done is known then
    const PAGES = ['overview', 'operations', 'operation', 'service', 'servers', 'pools', 'dns', 'findings'];
    const QUERY = ['id', 'state', 'name', 'first', 'said']; // what of the address the bridge may see

    /** HTML for WHMCS to print; a form that was accepted ends the request with a redirect. */
    public static function output(array $vars)
    {
        try {
            $link = isset($vars['modulelink']) && is_string($vars['modulelink']) ? $vars['modulelink']
                : 'addonmodules.php?module=vmbridge';
            $bridges = self::bridges();
            if ($bridges === []) {
                return self::notice(
                    'There is no active server of type vmbridge in WHMCS. Add one under System Settings > Servers.');
            }
            $asked = (array) Fields::of($_GET);
            $wanted = (int) Fields::word($asked, 'server', '/\A\d{1,9}\z/');
            $chosen = isset($bridges[$wanted]) ? $wanted : key($bridges);
            $menu = count($bridges) > 1 ? self::menu($bridges, $chosen, $link) : '';
            $url = $link . (count($bridges) > 1 ? Fields::query(['server' => $chosen]) : '');
            return $menu . self::page($bridges[$chosen], $url, $asked);
        } catch (BridgeException $e) {
            $back = isset($url) ? '<p><a href="' . self::escape($url) . '">Overview</a></p>' : '';
            return (isset($menu) ? $menu : '') . self::notice($e->sentence()) . $back;
        } catch (\Throwable $e) {
            if (function_exists('logActivity')) {
                logActivity('vmbridge: the admin page failed in the module: ' . get_class($e));
            }
            return self::notice('Something went wrong in the vmbridge module.');
        }
    }

    private static function page(array $server, $url, array $asked)
    {
        $page = Fields::word($asked, 'page');
        $page = in_array($page, self::PAGES, true) ? $page : 'overview';
        $query = array_map(function ($text) {
            return substr($text, 0, 80);
        }, array_filter(array_intersect_key($asked, array_flip(self::QUERY)), 'strlen'));
        $post = isset($_SERVER['REQUEST_METHOD']) && $_SERVER['REQUEST_METHOD'] === 'POST';
        $actor = self::actor();
        $query['have'] = Fields::had();
        if ($actor['id'] === 0) {
            return self::notice('Only WHMCS\'s admins see this page.');
        }
        if (!$post) {
            $query += ['actor_kind' => $actor['kind'], 'actor_id' => $actor['id'], 'actor_name' => $actor['name']];
        } elseif (!self::tokenHolds()) {
            return self::notice('The form is out of date. Nothing was done; open the page again.');
        }
        $form = $post ? Fields::of($_POST) : [];
        if ($form === null) {
            return self::notice('The form could not be read. Nothing was done; open the page again.');
        }
        $target = '/v1/admin/' . $page . ($query === [] ? '' : '?' . http_build_query($query));
        $body = $post ? ['actor' => $actor, 'form' => (object) $form] : null;
        list(, $reply) = (new Bridge($server))->call(
            $post ? 'POST' : 'GET', $target, $body, $post ? self::FORM_SECONDS : self::SECONDS);
        if ($post && isset($reply['redirect']) && is_string($reply['redirect'])
            && preg_match('/\A[\w=&.-]{1,200}\z/', $reply['redirect'])) {
            parse_str($reply['redirect'], $next);
            return self::redirect($url . Fields::query(array_filter($next, 'is_string')));
        }
        if (!isset($reply['html']) || !is_string($reply['html']) || $reply['html'] === '') {
            throw Bridge::unexpected();
        }
        return strtr(
            $reply['html'],
            ['%%VMBRIDGE_TOKEN%%' => self::escape(self::token()), '%%VMBRIDGE_URL%%' => self::escape($url)]);
    }

    /** Server record id => WHMCS's server keys; one for each bridge, since its records share the pages. */
    private static function bridges()
    {
        $bridges = [];
        $seen = [];
        foreach (
            Capsule::table('tblservers')->where('type', 'vmbridge')->where('disabled', 0)->orderBy('id')
                ->get() as $row) {
            $key = $row->hostname . '|' . $row->ipaddress . '|' . $row->port . '|' . $row->username;
            if (!isset($seen[$key])) {
                $seen[$key] = true;
                $bridges[(int) $row->id] = Records::server($row) + ['name' => Bridge::plain($row->name)];
            }
        }
        return $bridges;
    }

    private static function actor()
    {
        $id = isset($_SESSION['adminid']) ? (int) $_SESSION['adminid'] : 0;
        $name = '';
        try {
            $name = $id === 0 ? '' : (string) Capsule::table('tbladmins')->where('id', $id)->value('username');
        } catch (\Throwable $e) {
            $name = '';
        }
        return ['kind' => 'admin', 'id' => $id, 'name' => $name];
    }

    /** WHMCS ends the request itself when the token is wrong; where it only says so, that counts too. */
    private static function tokenHolds()
    {
        return function_exists('check_token') && check_token('WHMCS.admin.default') !== false;
    }

    private static function token()
    {
        return function_exists('generate_token') ? (string) generate_token('plain') : '';
    }

    private static function menu(array $bridges, $chosen, $link)
    {
        $links = [];
        foreach ($bridges as $id => $server) {
            $name = self::escape($server['name'] !== '' ? $server['name'] : Bridge::plain($server['serverhostname']));
            $links[] = $id === $chosen ? '<strong>' . $name . '</strong>' : '<a href="'
                . self::escape($link . Fields::query(['server' => $id])) . '">' . $name . '</a>';
        }
        return '<p>Bridge: ' . implode(' | ', $links) . '</p>';
    }

    private static function redirect($url)
    {
        if (headers_sent()) {
            return self::notice('Done.') . '<p><a href="' . self::escape($url) . '">Go on</a></p>';
        }
        while (ob_get_level() > 0) {
            ob_end_clean();
        }
        header('Location: ' . $url, true, 303);
        exit;
    }

    private static function notice($text)
    {
        return '<div class="alert alert-warning" style="text-align:left">' . self::escape($text) . '</div>';
    }

    private static function escape($text)
    {
        return htmlspecialchars($text, ENT_QUOTES, 'UTF-8');
    }
}
