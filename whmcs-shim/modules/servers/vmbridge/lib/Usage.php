<?php

namespace WHMCS\Module\Server\Vmbridge;

use WHMCS\Database\Capsule;

/**
 * What the services of a server used this month: one call of the bridge for all of them. Nothing here throws.
 */
class Usage
{
    const SECONDS = 20;
    const MAX_REPLY = 33554432; // some 350 bytes for each service
    const SHARE = 500; // services in one statement
    const NUMBERS = [
        'floating_ipv4', 'floating_ipv6', 'ipv4', 'ipv6', 'snapshots', 'bandwidth_in', 'bandwidth_out',
        'bandwidth_total', 'snapshot_gb',
        'backup_gb', 'disk_mb', 'disk_limit_mb', 'bandwidth_mb', 'bandwidth_limit_mb', 'collected_at'];

    /** WHMCS's usage billing asks through it; null where WHMCS has none, since the class cannot be loaded there. */
    public static function provider(array $params)
    {
        if (!interface_exists('WHMCS\\UsageBilling\\Contracts\\Metrics\\ProviderInterface')) {
            return null;
        }
        require_once __DIR__ . '/MetricProvider.php';
        return new MetricProvider($params);
    }

    /**
     * Service id => what the bridge tells of it, and the month; with `$service` of that one. `$billed`: for WHMCS's
     * metric records, so that the bridge knows what these have. A failure is told to staff and is no usage at all:
     * WHMCS keeps what it has.
     *
     * @return array [services, month]
     */
    public static function read(array $params, $billed, $service = null)
    {
        try {
            $target = '/v1/servers/' . rawurlencode(Module::serverName($params)) . '/usage';
            $body = ['billed' => $billed] + ($service === null ? [] : ['service_id' => (int) $service]);
            list(, $reply) = (new Bridge($params))->call('POST', $target, $body, self::SECONDS, [], self::MAX_REPLY);
            if (!self::isWhole($reply)) {
                throw Module::incomplete('usage');
            }
            self::tellOld($params, $reply['services']);
            return [$reply['services'], $reply['month']];
        } catch (BridgeException $e) {
            self::tell(
                'Usage of server ' . Module::serverName($params) . ' could not be read, WHMCS keeps what it has: '
                    . $e->sentence());
        } catch (\Throwable $e) {
            self::tell(
                'Usage of server ' . Module::serverName($params) . ' could not be read in the module: '
                    . get_class($e));
        }
        return [[], []];
    }

    /** Whether every service has every number: what is missing must not become a zero. */
    private static function isWhole(array $reply)
    {
        if (!isset($reply['services'], $reply['month']['start'], $reply['month']['end'])
            || !is_array($reply['services'])) {
            return false;
        }
        foreach ($reply['services'] as $used) {
            if (!is_array($used)
                || count(array_filter(array_intersect_key($used, array_flip(self::NUMBERS)), 'is_numeric')) !== count(
                    self::NUMBERS)) {
                return false;
            }
        }
        return true;
    }

    /**
     * Disk and bandwidth of every service of the server, all or none. What is not current keeps what it has and its
     * time.
     */
    public static function update(array $params)
    {
        list($services) = self::read($params, false);
        $current = array_filter($services, function ($used) {
            return empty($used['stale']);
        });
        try {
            Capsule::connection()->transaction(function ($database) use ($params, $current) {
                foreach (array_chunk($current, self::SHARE, true) as $share) {
                    $database->update(self::statement($share), [(int) Module::value($params, 'serverid')]);
                }
            });
        } catch (\Throwable $e) {
            self::tell('Usage of server ' . Module::serverName($params) . ' could not be written: ' . get_class($e));
        }
    }

    /** One UPDATE for many rows; all values are numbers and times of ours. */
    private static function statement(array $share)
    {
        $columns = [
            'diskusage' => 'disk_mb', 'disklimit' => 'disk_limit_mb', 'bwusage' => 'bandwidth_mb',
            'bwlimit' => 'bandwidth_limit_mb'];
        $cases = [];
        foreach ($columns as $column => $word) {
            $cases[$column] = '';
            foreach ($share as $id => $used) {
                $cases[$column] .= ' WHEN ' . (int) $id . ' THEN ' . (int) $used[$word];
            }
        }
        $cases['lastupdate'] = '';
        foreach ($share as $id => $used) {
            $cases['lastupdate'] .= ' WHEN ' . (int) $id . " THEN '" . date('Y-m-d H:i:s', (int) $used['collected_at'])
                . "'";
        }
        $set = [];
        foreach ($cases as $column => $case) {
            $set[] = $column . ' = CASE id' . $case . ' END';
        }
        return 'UPDATE tblhosting SET ' . implode(', ', $set) . ' WHERE server = ? AND id IN ('
            . implode(', ', array_map('intval', array_keys($share))) . ')';
    }

    /** One line for all whose numbers are old, in the activity log. A new server has none yet, which is no news. */
    private static function tellOld(array $params, array $services)
    {
        $old = array_keys(array_filter($services, function ($used) {
            return !empty($used['stale']) && empty($used['new']);
        }));
        if ($old !== []) {
            $more = count($old) > 20 ? ' and ' . (count($old) - 20) . ' more' : '';
            self::tell(
                'Usage of server ' . Module::serverName($params) . ' is not current for ' . count($old)
                    . ' services, WHMCS keeps what it has: '
                . implode(', ', array_slice($old, 0, 20)) . $more);
        }
    }

    private static function tell($text)
    {
        if (function_exists('logActivity')) {
            logActivity('vmbridge: ' . $text);
        }
    }
}
