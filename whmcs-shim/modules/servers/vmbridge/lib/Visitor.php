<?php

namespace WHMCS\Module\Server\Vmbridge;

/** Who is at WHMCS's pages, and how the page was asked for. */
class Visitor
{
    public static function actor()
    {
        return self::whoever() + ['ip' => self::address()];
    }

    private static function whoever()
    {
        if (!empty($_SESSION['adminid'])) {
            return ['kind' => 'admin', 'id' => (int) $_SESSION['adminid'], 'name' => ''];
        }
        if (!empty($_SESSION['uid'])) {
            return ['kind' => 'client', 'id' => (int) $_SESSION['uid'], 'name' => ''];
        }
        return ['kind' => 'system', 'id' => 0, 'name' => ''];
    }

    /** Where the visitor comes from, as WHMCS itself sees it behind its proxies. */
    private static function address()
    {
        try {
            $address = class_exists('App', false) && is_callable(['App', 'getRemoteIp']) ? \App::getRemoteIp() : '';
        } catch (\Throwable $e) {
            $address = '';
        }
        $address = is_string($address) && $address !== '' ? $address
            : (isset($_SERVER['REMOTE_ADDR']) ? (string) $_SERVER['REMOTE_ADDR'] : '');
        return filter_var($address, FILTER_VALIDATE_IP) === false ? '' : $address;
    }

    public static function isAdminArea()
    {
        return defined('ADMINAREA') && ADMINAREA || PHP_SAPI === 'cli';
    }

    public static function isPost()
    {
        return isset($_SERVER['REQUEST_METHOD']) && $_SERVER['REQUEST_METHOD'] === 'POST';
    }
}
