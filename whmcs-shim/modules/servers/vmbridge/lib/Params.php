<?php

namespace WHMCS\Module\Server\Vmbridge;

/**
 * What of WHMCS's $params leaves this server: named scalars only, never models or server secrets.
 */
class Params
{
    const SCALARS = ['serviceid', 'userid', 'pid', 'domain', 'status', 'addonId'];
    const CLIENT = ['firstname', 'lastname', 'companyname', 'email', 'language'];

    /** @return array the `params` of a request body; the password only where it is needed */
    public static function body(array $params, $withPassword = false)
    {
        $body = [];
        $names = self::SCALARS;
        for ($i = 1; $i <= 24; $i++) {
            $names[] = 'configoption' . $i;
        }
        if ($withPassword) {
            $names[] = 'password';
        }
        foreach ($names as $name) {
            if (isset($params[$name]) && is_scalar($params[$name])) {
                $body[$name] = is_string($params[$name]) ? Bridge::plain($params[$name]) : $params[$name];
            }
        }
        $body['status'] = self::status($params);
        foreach (['configoptions', 'customfields'] as $name) {
            $body[$name] = self::flat(isset($params[$name]) ? $params[$name] : []);
        }
        $client = isset($params['clientsdetails']) ? $params['clientsdetails'] : [];
        $body['clientsdetails'] = (object) array_intersect_key((array) self::flat($client), array_flip(self::CLIENT));
        return $body;
    }

    /** WHMCS's status of the service: Pending, Active, Suspended ...; empty when it is not told. */
    public static function status(array $params)
    {
        if (!empty($params['status']) && is_string($params['status'])) {
            return $params['status'];
        }
        $model = isset($params['model']) ? $params['model'] : null;
        foreach (['domainstatus', 'domainStatus', 'status'] as $name) {
            if (is_object($model) && isset($model->$name) && is_string($model->$name)) {
                return $model->$name;
            }
        }
        return '';
    }

    /** Product addons use other tables and cannot be servers. */
    public static function isAddon(array $params)
    {
        if (!empty($params['addonId'])) {
            return true;
        }
        return isset($params['model']) && is_object($params['model'])
            && strpos(get_class($params['model']), 'Addon') !== false;
    }

    /** Secrets that must never stand in a log. */
    public static function secrets(array $params)
    {
        $secrets = [];
        foreach (['password', 'serverpassword'] as $name) {
            if (!empty($params[$name]) && is_string($params[$name])) {
                foreach ([$params[$name], Bridge::plain($params[$name])] as $secret) {
                    array_push($secrets, $secret, rawurlencode($secret), base64_encode($secret));
                }
            }
        }
        return $secrets;
    }

    private static function flat($values)
    {
        $flat = [];
        foreach (is_array($values) ? $values : [] as $name => $value) {
            if (is_scalar($value)) {
                $flat[Bridge::plain($name)] = is_string($value) ? Bridge::plain($value) : $value;
            }
        }
        return (object) $flat;
    }
}
