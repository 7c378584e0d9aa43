<?php

namespace WHMCS\Module\Server\Vmbridge;

/**
 * Our own names in a request: one array, `vmb[...]`, in forms and in addresses. WHMCS reads names such as `action`
 * itself, POST before GET, so nothing of ours stands beside its own.
 */
class Fields
{
    const MOST = 64;
    const LONGEST = 4000; // the bridge refuses far shorter ones by name

    /**
     * Name => text as it was typed (WHMCS makes entities of what it gets), cut to LONGEST bytes. Null when it is not
     * what our pages send: no array, something nested, too many, or a name that none of ours has.
     */
    public static function of(array $request)
    {
        $fields = [];
        $sent = isset($request['vmb']) ? $request['vmb'] : [];
        if (!is_array($sent) || count($sent) > self::MOST) {
            return null;
        }
        foreach ($sent as $name => $value) {
            if (!is_string($value) || !preg_match('/\A[a-z][a-z_]{0,39}\z/', (string) $name)) {
                return null;
            }
            $text = html_entity_decode($value, ENT_QUOTES, 'UTF-8');
            $fields[$name] = function_exists('mb_strcut') ? mb_strcut($text, 0, self::LONGEST, 'UTF-8')
                : substr($text, 0, self::LONGEST);
        }
        return $fields;
    }

    /** One field, when it has the form; else an empty text. */
    public static function word($fields, $name, $form = '/\A[a-z_]{1,30}\z/')
    {
        return is_array($fields) && isset($fields[$name]) && preg_match($form, $fields[$name]) ? $fields[$name] : '';
    }

    /** The version of the pages' files that this browser has had from the public path; empty while it has none. */
    public static function had()
    {
        $kept = isset($_COOKIE['vmbridge_files']) && is_string($_COOKIE['vmbridge_files']) ? $_COOKIE['vmbridge_files']
            : '';
        return preg_match('/\A[0-9a-f]{16}\z/', $kept) ? $kept : '';
    }

    /** `&vmb[page]=...` for an address of WHMCS's; what is empty is left out. */
    public static function query(array $fields)
    {
        $text = '';
        foreach ($fields as $name => $value) {
            $text .= (string) $value === '' ? '' : '&vmb[' . $name . ']=' . rawurlencode((string) $value);
        }
        return $text;
    }
}
