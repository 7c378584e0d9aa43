<?php

namespace WHMCS\Module\Server\Vmbridge;

use WHMCS\Database\Capsule;

/**
 * What has to be read from WHMCS's tables where a WHMCS hook gets ids only. Reads, never writes.
 */
class Records
{
    /**
     * The `$params` of a service of ours as they will be after an upgrade to a product: its server record and the target's
     * configoption1..24. Null when the service or the product is not ours.
     */
    public static function forUpgrade($serviceId, $productId)
    {
        $service = Capsule::table('tblhosting')->where('id', $serviceId)->first();
        $product = Capsule::table('tblproducts')->where('id', $productId)->first();
        if (!$service || !$product || (string) $product->servertype !== 'vmbridge' || (int) $service->server === 0) {
            return null;
        }
        $server = Capsule::table('tblservers')->where('id', (int) $service->server)->first();
        if (!$server || (string) $server->type !== 'vmbridge') {
            return null;
        }
        $found = self::server($server) + [
            'serviceid' => $serviceId, 'userid' => (int) $service->userid, 'pid' => $productId, 'status' => (string) $service->domainstatus,
            'domain' => (string) $service->domain,
        ];
        for ($i = 1; $i <= 24; $i++) {
            $name = 'configoption' . $i;
            $found[$name] = isset($product->$name) ? (string) $product->$name : '';
        }
        $found['configoptions'] = self::options($serviceId);
        return $found;
    }

    /** Configurable options of a service by name, as module parameters have them; they stay what they are in an upgrade. */
    private static function options($serviceId)
    {
        $found = [];
        try {
            foreach (Capsule::table('tblhostingconfigoptions')->where('relid', $serviceId)->get() as $row) {
                $option = Capsule::table('tblproductconfigoptions')->where('id', (int) $row->configid)->first();
                if (!$option) {
                    continue;
                }
                $sub = Capsule::table('tblproductconfigoptionssub')->where('id', (int) $row->optionid)->first();
                $counted = in_array((int) $option->optiontype, [3, 4], true); // yes/no and quantity
                $parts = explode('|', (string) $option->optionname);
                $found[$parts[0]] = $counted ? (string) (int) $row->qty : ($sub ? (string) $sub->optionname : '');
            }
        } catch (\Throwable $e) {
            return $found; // another version's tables: the check is then made without them
        }
        return $found;
    }

    /** Passwords of a client's services with us, so that they can be kept out of what WHMCS stores. */
    public static function passwordsOf($clientId)
    {
        $ours = [];
        foreach (Capsule::table('tblservers')->where('type', 'vmbridge')->get() as $server) {
            $ours[(int) $server->id] = true;
        }
        $found = [];
        foreach (Capsule::table('tblhosting')->where('userid', (int) $clientId)->get() as $service) {
            $password = isset($ours[(int) $service->server]) ? (string) decrypt($service->password) : '';
            if (strlen($password) >= 5) {
                $found[] = $password;
            }
        }
        return $found;
    }

    /** WHMCS's server keys of one row of tblservers. */
    public static function server($row)
    {
        return [
            'server' => true, 'serverid' => (int) $row->id, 'serverhostname' => (string) $row->hostname, 'serverip' => (string) $row->ipaddress,
            'serverport' => (string) $row->port, 'serversecure' => (string) $row->secure === 'on' || (string) $row->secure === '1',
            'serverusername' => (string) $row->username, 'serverpassword' => (string) decrypt($row->password),
            'serveraccesshash' => (string) $row->accesshash,
        ];
    }
}
