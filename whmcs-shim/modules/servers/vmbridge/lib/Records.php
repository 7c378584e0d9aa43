<?php

namespace WHMCS\Module\Server\Vmbridge;

use WHMCS\Database\Capsule;

/**
 * What has to be read from WHMCS's tables where a WHMCS hook gets ids only. Reads, never writes.
 */
class Records
{
    /**
     * The `$params` of a service of ours as they will be after an upgrade: its server record, the target's
     * configoption1..24, and its configurable options with those chosen in place of the present ones. Null when the
     * service or the product is not ours.
     *
     * @param int   $productId the target; 0: the service keeps its product
     * @param array $chosen    id of a configurable option => id of the value, or the number of what is counted
     */
    public static function forUpgrade($serviceId, $productId, array $chosen = [])
    {
        $service = Capsule::table('tblhosting')->where('id', $serviceId)->first();
        $productId = $productId === 0 && $service ? (int) $service->packageid : $productId;
        $product = Capsule::table('tblproducts')->where('id', $productId)->first();
        if (!$service || !$product || (string) $product->servertype !== 'vmbridge' || (int) $service->server === 0) {
            return null;
        }
        $server = Capsule::table('tblservers')->where('id', (int) $service->server)->first();
        if (!$server || (string) $server->type !== 'vmbridge') {
            return null;
        }
        $params = self::server($server) + [
            'serviceid' => $serviceId, 'userid' => (int) $service->userid, 'pid' => $productId,
            'status' => (string) $service->domainstatus,
            'domain' => (string) $service->domain,
        ];
        for ($i = 1; $i <= 24; $i++) {
            $name = 'configoption' . $i;
            $params[$name] = isset($product->$name) ? (string) $product->$name : '';
        }
        $params['configoptions'] = self::options($serviceId, $chosen);
        return $params;
    }

    /**
     * Configurable options of a service by name, as module parameters have them; what is not chosen anew stays what it
     * is.
     */
    private static function options($serviceId, array $chosen)
    {
        $options = [];
        try {
            $values = [];
            foreach (Capsule::table('tblhostingconfigoptions')->where('relid', $serviceId)->get() as $row) {
                $values[(int) $row->configid] = [(int) $row->optionid, (int) $row->qty];
            }
            foreach ($chosen as $id => $value) {
                $values[(int) $id] = [(int) $value, (int) $value];
            }
            foreach ($values as $id => list($value, $quantity)) {
                $option = Capsule::table('tblproductconfigoptions')->where('id', $id)->first();
                if (!$option) {
                    continue;
                }
                $sub = Capsule::table('tblproductconfigoptionssub')->where('id', $value)->first();
                $counted = in_array((int) $option->optiontype, [3, 4], true); // yes/no and quantity
                $parts = explode('|', (string) $option->optionname);
                $options[$parts[0]] = $counted ? (string) $quantity : ($sub ? (string) $sub->optionname : '');
            }
        } catch (\Throwable $e) {
            return $options; // another version's tables: the check is then made without them
        }
        return $options;
    }

    /**
     * Passwords of a client's services with us, as stored and as typed, so that they can be kept out of what WHMCS
     * stores.
     */
    public static function passwordsOf($clientId)
    {
        $ours = [];
        foreach (Capsule::table('tblservers')->where('type', 'vmbridge')->get() as $server) {
            $ours[(int) $server->id] = true;
        }
        $forms = [];
        foreach (Capsule::table('tblhosting')->where('userid', (int) $clientId)->get() as $service) {
            $password = isset($ours[(int) $service->server]) ? (string) decrypt($service->password) : '';
            foreach ([$password, Bridge::plain($password)] as $form) {
                if (strlen($form) >= 5) {
                    $forms[$form] = strlen($form);
                }
            }
        }
        arsort($forms); // a part of another one would leave its rest
        return array_map('strval', array_keys($forms));
    }

    /** WHMCS's server keys of one row of tblservers, with its entities as in module parameters. */
    public static function server($row)
    {
        return [
            'server' => true, 'serverid' => (int) $row->id, 'serverhostname' => (string) $row->hostname,
            'serverip' => (string) $row->ipaddress,
            'serverport' => (string) $row->port, 'serversecure' => (string) $row->secure === 'on'
                || (string) $row->secure === '1',
            'serverusername' => (string) $row->username, 'serverpassword' => (string) decrypt($row->password),
            'serveraccesshash' => (string) $row->accesshash,
        ];
    }
}
