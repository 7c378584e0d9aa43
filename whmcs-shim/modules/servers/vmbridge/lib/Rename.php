<?php

namespace WHMCS\Module\Server\Vmbridge;

/** Staff's save of a service with another domain: the server's new name. */
class Rename
{
    /** Domain of a service before it is saved, by id; what is not known is asked of the bridge. */
    private static $domains = [];

    /** Before staff's save of a service: its domain as it is now. Never throws. */
    public static function beforeEdit($serviceId)
    {
        try {
            $domain = \WHMCS\Database\Capsule::table('tblhosting')->where('id', (int) $serviceId)->value('domain');
            self::$domains[(int) $serviceId] = (string) $domain;
        } catch (\Throwable $e) {
            unset(self::$domains[(int) $serviceId]);
        }
    }

    /**
     * After it: another domain is the server's new name. The bridge is asked only where it differs; the same name again
     * is nothing to it. What became of it stands in WHMCS's activity log, since a save shows no module's words. Never
     * throws.
     */
    public static function afterEdit($serviceId)
    {
        $serviceId = (int) $serviceId;
        try {
            $params = Records::forUpgrade($serviceId, 0);
            if ($params === null || !in_array($params['status'], ['Pending', 'Active', 'Suspended'], true)) {
                return;
            }
            if (isset(self::$domains[$serviceId]) && self::$domains[$serviceId] === $params['domain']) {
                return;
            }
            self::$domains[$serviceId] = $params['domain']; // WHMCS has two hooks for one save
            $body = [
                'params' =>
                    ['serviceid' => $serviceId, 'userid' => $params['userid'],
                        'domain' => Bridge::plain($params['domain']), 'status' => $params['status']],
                'actor' => Visitor::actor(), 'server' => Module::serverName($params),
            ];
            $reply = Module::send(
                $params, 'POST', Module::path($params, 'rename'), $body, Module::SUBMIT_SECONDS, 'rename');
            if (!empty($reply['operation'])) {
                self::tell(
                    'service ' . $serviceId . ' gets the name ' . $body['params']['domain']
                        . '. The system inside takes it at its next restart, or keeps its own until it is changed '
                        . 'there.', $params);
            }
        } catch (BridgeException $e) {
            if ($e->word() !== 'unknown_service') { // what is not made yet is made with the name that it has then
                self::tell(
                    'the new domain of service ' . $serviceId . ' did not reach its server: ' . $e->sentence()
                        . ' Put it right, then press Converge on the service.',
                        ['userid' => isset($params['userid']) ? $params['userid'] : 0]);
            }
        } catch (\Throwable $e) {
            Module::unexpected($e, 'rename');
        }
    }

    private static function tell($text, array $params)
    {
        if (function_exists('logActivity')) {
            logActivity('vmbridge: ' . $text, (int) Module::value($params, 'userid'));
        }
    }
}
