<?php

namespace WHMCS\Module\Server\Vmbridge;

/**
 * WHMCS's functions in terms of bridge calls. Nothing here throws: WHMCS gets a result or a sentence.
 */
class Module
{
    const ACTION_SECONDS = 20;
    const PAGE_SECONDS = 3;
    const SUBMIT_SECONDS = 12;
    const WITH_PASSWORD = ['create', 'change_password'];

    /** Service id => welcome template that is held back in this PHP process. */
    public static $held = [];

    /** One verb of POST /v1/services/<id>/<verb>; "success" or a sentence. */
    public static function call(array $params, $verb)
    {
        try {
            if (Params::isAddon($params)) {
                return 'vmbridge cannot deliver a product addon; sell the server as a product.';
            }
            $body = [
                'params' => Params::body($params, in_array($verb, self::WITH_PASSWORD, true)),
                'actor' => Visitor::actor(), 'server' => self::serverName($params)];
            if ($verb === 'create') {
                $body['params']['welcome_email'] = self::welcomeTemplate($params);
            }
            $reply = self::send($params, 'POST', self::path($params, $verb), $body, self::ACTION_SECONDS, $verb);
            self::remember($params, $reply);
            if (!empty($reply['hold_welcome_mail']) && !empty($body['params']['welcome_email'])) {
                self::$held[(int) self::value($params, 'serviceid')] = $body['params']['welcome_email'];
            }
            return 'success';
        } catch (BridgeException $e) {
            return $e->sentence();
        } catch (\Throwable $e) {
            return self::unexpected($e, $verb);
        }
    }

    /**
     * A customer's button: only by POST, only for an active service; by GET a page with one confirming form. What was
     * ordered is shown by the service's page.
     */
    public static function clientVerb(array $params, $verb)
    {
        if (Visitor::isAdminArea()) {
            return self::call($params, $verb);
        }
        if (!Visitor::isPost()) {
            return self::question($params, $verb);
        }
        if (Params::status($params) !== 'Active') {
            return Page::said('vmbridge_inactive');
        }
        $result = self::call($params, $verb);
        if ($result === 'success') {
            // WHMCS would say that it is completed; the page says that it is ordered, and follows it
            Page::redirect($params, 'overview');
        }
        return $result;
    }

    /** A button of WHMCS's own menu is a link: the bridge's page asks, or a plain form when it cannot be reached. */
    private static function question(array $params, $verb)
    {
        try {
            if (!Params::isAddon($params)) {
                $query = self::query($params) . '&ask=' . rawurlencode($verb);
                return Page::page(
                    $params, self::send(
                        $params, 'GET', self::path($params, 'pages/overview') . '?' . $query, null, self::PAGE_SECONDS,
                        ''));
            }
        } catch (\Throwable $e) {
            // the plain form does it
        }
        return Page::confirm($params, $verb);
    }

    /** The form of one of the bridge's pages: 303 back to the overview, or the page with its message. */
    public static function submit(array $params)
    {
        try {
            if (!Visitor::isPost() || Params::isAddon($params)) {
                return Page::said('vmbridge_denied');
            }
            if (Params::status($params) !== 'Active') {
                return Page::said('vmbridge_inactive');
            }
            $form = Fields::of($_POST);
            if ($form === null) {
                return Page::said('vmbridge_malformed');
            }
            $capability = Fields::word($form, 'capability');
            $capability = $capability === '' ? 'unknown' : $capability;
            $body = ['params' => Params::body($params), 'actor' => Visitor::actor(), 'form' => (object) $form];
            $query = '?' . http_build_query(['theme' => Page::theme(), 'have' => Fields::had()]);
            $reply = self::send(
                $params, 'POST', self::path($params, 'pages/' . $capability) . $query, $body, self::SUBMIT_SECONDS,
                'submit');
            if (!empty($reply['no_store'])) {
                Page::whole($reply);
            }
            if (Fields::word($reply, 'redirect') !== '') {
                Page::redirect($params, $reply['redirect']);
            }
            return Page::page($params, $reply);
        } catch (BridgeException $e) {
            return $e->sentence();
        } catch (\Throwable $e) {
            return self::unexpected($e, 'submit');
        }
    }

    /**
     * The overview, or the page that `vmb[page]` names, inside WHMCS's own tab; status polling comes through the same
     * function.
     */
    public static function clientArea(array $params)
    {
        try {
            $fields = Fields::of($_GET);
            $page = Fields::word($fields, 'page');
            if ($page === 'status') {
                Page::status($params);
            }
            if (Params::isAddon($params)) {
                return [];
            }
            if ($page === 'asset') {
                Files::send(
                    $params, Fields::word($fields, 'file', '/\A[a-z.]{1,20}\z/'),
                    Fields::word($fields, 'v', '/\A[0-9a-f]{16}\z/'), self::SUBMIT_SECONDS);
            }
            if ($page === 'charts' && isset($fields['data'])) {
                Page::charts($params, Fields::word($fields, 'data'), self::language($params));
            }
            $page = $page === '' || $page === 'admin' ? 'overview' : $page; // the staff's tab has another way in
            $period = Fields::word($fields, 'period');
            $target = self::path($params, 'pages/' . $page) . '?' . self::query($params)
                . ($period === '' ? '' : '&period=' . $period);
            $reply = self::send(
                $params, 'GET', $target, null, $page === 'overview' ? self::PAGE_SECONDS : self::SUBMIT_SECONDS, '');
            return Page::overview($params, $reply, $page);
        } catch (\Throwable $e) {
            return Page::fallback($params, $e);
        }
    }

    public static function adminTab(array $params)
    {
        try {
            if ((int) self::value($params, 'serviceid') === 0 || Params::isAddon($params)) {
                return [];
            }
            $target = self::path($params, 'pages/admin') . '?' . http_build_query([
                'client' => (int) self::value($params, 'userid'), 'admin' => isset($_SESSION['adminid'])
                    ? (int) $_SESSION['adminid'] : 1,
                'have' => Fields::had(),
            ]);
            $reply = self::send($params, 'GET', $target, null, self::PAGE_SECONDS, '');
            return ['vmbridge' => Page::html($reply)];
        } catch (BridgeException $e) {
            return ['vmbridge' => htmlspecialchars($e->sentence(), ENT_QUOTES, 'UTF-8')];
        } catch (\Throwable $e) {
            return ['vmbridge' => 'The bridge\'s page could not be shown.'];
        }
    }

    public static function testConnection(array $params)
    {
        try {
            self::send(
                $params, 'POST', '/v1/servers/' . rawurlencode(self::serverName($params)) . '/test', new \stdClass(),
                self::ACTION_SECONDS, 'test');
            return ['success' => true, 'error' => ''];
        } catch (BridgeException $e) {
            return ['success' => false, 'error' => $e->sentence()];
        } catch (\Throwable $e) {
            return ['success' => false, 'error' => self::unexpected($e, 'test')];
        }
    }

    /** Server Sync: what the bridge knows on this server, by the tenant key. */
    public static function listAccounts(array $params)
    {
        try {
            $target = '/v1/servers/' . rawurlencode(self::serverName($params)) . '/accounts';
            $reply = self::send($params, 'POST', $target, new \stdClass(), self::ACTION_SECONDS, '');
            if (!isset($reply['accounts']) || !is_array($reply['accounts'])
                || array_filter($reply['accounts'], 'is_array') !== $reply['accounts']) {
                throw self::incomplete('accounts'); // an empty list would say that everything is gone
            }
            return ['success' => true, 'accounts' => $reply['accounts']];
        } catch (BridgeException $e) {
            return ['success' => false, 'error' => $e->sentence()];
        } catch (\Throwable $e) {
            return ['success' => false, 'error' => self::unexpected($e, 'accounts')];
        }
    }

    /**
     * Why a service cannot change to a product, before it is paid; an empty list when it can, and when the bridge
     * cannot be asked: then ChangePackage itself refuses.
     *
     * @return string[]
     */
    public static function upgradeErrors($serviceId, $productId)
    {
        $params = Records::forUpgrade((int) $serviceId, (int) $productId);
        try {
            return $params === null ? []
                : self::sentences(self::preview($params, Visitor::actor(), 'preview'), 'refused');
        } catch (BridgeException $e) {
            return [];
        }
    }

    /**
     * What ChangePackage with these parameters would do; nothing is changed. Throws BridgeException when it cannot be
     * asked.
     */
    public static function preview(array $params, array $actor, $log)
    {
        $body = ['params' => Params::body($params), 'actor' => $actor, 'server' => self::serverName($params)];
        return self::send($params, 'POST', self::path($params, 'preview'), $body, self::PAGE_SECONDS, $log);
    }

    /** @return string[] */
    public static function sentences(array $reply, $name)
    {
        return isset($reply[$name]) && is_array($reply[$name])
            ? array_map('strval', array_values(array_filter($reply[$name], 'is_scalar'))) : [];
    }

    /** Plans of the product's server for the drop-down; an exception's text is shown by WHMCS. */
    public static function plans(array $params)
    {
        try {
            $reply = self::send(
                $params, 'POST', '/v1/servers/' . rawurlencode(self::serverName($params)) . '/plans', new \stdClass(),
                self::ACTION_SECONDS, '');
            if (!isset($reply['plans']) || !is_array($reply['plans'])
                || array_filter($reply['plans'], 'is_string') !== $reply['plans']) {
                throw self::incomplete('plans');
            }
            return $reply['plans'];
        } catch (BridgeException $e) {
            throw new \Exception($e->sentence());
        }
    }

    /** Sends, logs with every secret masked, returns the decoded body. `$log` empty: reads are not logged. */
    public static function send(array $params, $method, $target, $body, $seconds, $log)
    {
        try {
            list(, $reply) = (new Bridge($params))->call($method, $target, $body, $seconds);
        } catch (\Throwable $e) {
            $said = $e instanceof BridgeException ? $e->sentence() : get_class($e);
            self::log($params, $log === '' ? $method . ' ' . strtok($target, '?') : $log, $target, $body, $said);
            throw $e;
        }
        if ($log !== '') {
            self::log($params, $log, $target, $body, $reply);
        }
        return $reply;
    }

    /** For a reply that says success and lacks what was asked for. */
    public static function incomplete($what)
    {
        $e = Bridge::unexpected();
        if (function_exists('logActivity')) {
            logActivity('vmbridge: a reply of the bridge had no ' . $what . ' (reference ' . $e->reference() . ')');
        }
        return $e;
    }

    private static function log(array $params, $action, $target, $body, $reply)
    {
        if (function_exists('logModuleCall')) {
            $shown = is_array($body) ? $body : [];
            unset($shown['params']['password']);
            $secrets = Params::secrets($params);
            if (is_array($reply) && isset($reply['properties']['Password'])) {
                $secrets[] = (string) $reply['properties']['Password'];
            }
            if (is_array($reply) && isset($reply['html'])) {
                $reply['html'] = '(' . strlen((string) $reply['html']) . ' bytes)'; // a page may hold a one-time code
            }
            $text = json_encode(['target' => $target, 'body' => $shown]);
            logModuleCall('vmbridge', $action, $text, is_array($reply) ? json_encode($reply) : $reply, '', $secrets);
        }
    }

    /** What the bridge wants kept: addresses and the tenant key. */
    private static function remember(array $params, array $reply)
    {
        $id = (string) (int) self::value($params, 'serviceid');
        $values = isset($reply['properties']) && is_array($reply['properties'])
            ? array_filter($reply['properties'], 'is_scalar') : [];
        if (isset($params['model']) && is_object($params['model']) && isset($params['model']->serviceProperties)) {
            $properties = $params['model']->serviceProperties;
            if (!isset($values['vmbridge_id']) && (string) $properties->get('vmbridge_id') !== $id) {
                $values['vmbridge_id'] = $id;
            }
            if ($values !== []) {
                $properties->save($values);
            }
        }
    }

    /** The product's own welcome template, by name; empty when it has none. */
    private static function welcomeTemplate(array $params)
    {
        try {
            $id = \WHMCS\Database\Capsule::table('tblproducts')->where('id', (int) self::value($params, 'pid'))->value(
                'welcomeemail');
            if ((int) $id === 0) {
                return '';
            }
            return (string) \WHMCS\Database\Capsule::table('tblemailtemplates')->where('id', (int) $id)->value('name');
        } catch (\Throwable $e) {
            return '';
        }
    }

    public static function path(array $params, $rest)
    {
        return '/v1/services/' . (int) self::value($params, 'serviceid') . '/' . $rest;
    }

    public static function serverName(array $params)
    {
        return trim(Bridge::plain(self::value($params, 'serveraccesshash')));
    }

    private static function query(array $params)
    {
        return http_build_query([
            'client' => (int) self::value($params, 'userid'), 'language' => self::language($params),
            'theme' => Page::theme(),
            'have' => Fields::had(),
        ]);
    }

    private static function language(array $params)
    {
        $client = self::value($params, 'clientsdetails');
        return is_array($client) && isset($client['language']) && is_string($client['language']) ? $client['language']
            : '';
    }

    public static function value($from, $name)
    {
        return is_array($from) && isset($from[$name]) ? $from[$name] : '';
    }

    /** What WHMCS shows of a fault of our own. */
    public static function unexpected(\Throwable $e, $action)
    {
        if (function_exists('logActivity')) {
            logActivity('vmbridge: ' . $action . ' failed in the module: ' . get_class($e));
        }
        return 'Something went wrong in the vmbridge module.';
    }
}
