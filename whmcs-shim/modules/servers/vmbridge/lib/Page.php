<?php

namespace WHMCS\Module\Server\Vmbridge;

/**
 * What is printed into WHMCS's pages: the bridge's HTML, the confirming form, the fallback, status JSON.
 */
class Page
{
    const MAX_WHOLE = 65536;
    const THEMES = ['twenty-one', 'nexus', 'six']; // WHMCS's own, whose pages templates/product.tpl is made for
    /**
     * What is said without the bridge; WHMCS's language overrides may say it in another language under the same keys.
     */
    const SENTENCES = [
        'vmbridge_start' => 'Start', 'vmbridge_stop' => 'Stop', 'vmbridge_reboot' => 'Restart',
        'vmbridge_hard_stop' => 'Hard stop',
        'vmbridge_question' => 'Do you want to do this with your server?', 'vmbridge_back' => 'Back',
        'vmbridge_server' => 'Server',
        'vmbridge_denied' => 'Access Denied', 'vmbridge_inactive' => 'This service is not active.',
        'vmbridge_malformed' => 'The form could not be read. Nothing was done; please open the page again.',
        'vmbridge_down' => 'Your server\'s page cannot be shown just now.',
        'vmbridge_down_more' => 'Your server itself is not affected by this. Please try again in a few minutes.',
    ];

    /**
     * On a phone the server comes before WHMCS's own menus, and before the page's heading where that is beside them
     * (Six). In the page's head they also wait until ours is read: a busy phone would paint them first, then move them.
     */
    const MENUS_WAIT =
        'body:not(:has(.vmbridge-read)) :is(.sidebar,.pull-md-right:not(.main-content)){display:none}';
    const MENUS_LAST = '.row:has(>.primary-content .vmbridge-first)>:first-child:not(.primary-content){order:1}'
        . '.row:has(>.main-content .vmbridge-first){display:flex;flex-direction:column}'
        . '.row:has(>.main-content .vmbridge-first)>.main-content{order:-1}';

    /** Of the page that this request shows; for the hook that WHMCS asks for its template's variables afterwards. */
    public static $title = '';
    /** Whether this request shows a page of ours that comes before WHMCS's menus; for the hook of the page's head. */
    private static $first = false;

    public static function said($key)
    {
        return isset($GLOBALS['_LANG'][$key]) && is_string($GLOBALS['_LANG'][$key]) ? $GLOBALS['_LANG'][$key]
            : self::SENTENCES[$key];
    }

    /** What the head of this request's page needs: nothing in an unknown theme, or without a page of ours. */
    public static function head()
    {
        return self::$first && in_array(self::themeName(), self::THEMES, true)
            ? self::style(self::MENUS_WAIT . self::MENUS_LAST) : '';
    }

    private static function style($rules)
    {
        return '<style>@media(max-width:991px){' . $rules . '}</style>';
    }

    /** The variables of a template whose page comes first: where WHMCS does not ask the head's hook, they move it. */
    private static function first(array $vars)
    {
        self::$first = true;
        return $vars + ['vmbridgeFirst' => self::style(self::MENUS_LAST)];
    }

    /**
     * A page in the product's tab. In the themes that we know the server comes first and WHMCS's own words of the
     * product below it; an unknown theme prints us where it prints every module.
     */
    public static function overview(array $params, array $reply, $page = 'overview')
    {
        $vars = ['vmbridgeHtml' => self::filled($params, self::html($reply))];
        self::entitled($params, $reply);
        return in_array(self::themeName(), self::THEMES, true)
            ? ['tabOverviewReplacementTemplate' => 'templates/product.tpl', 'templateVariables' => self::first($vars)
                + ['vmbridgeTabs' => $page === 'overview']]
            : ['tabOverviewModuleOutputTemplate' => 'templates/overview.tpl', 'templateVariables' => $vars];
    }

    /** `Snapshots - vm-1.example.com`: what the document is called, in the browser's tab and history. */
    private static function entitled(array $params, array $reply)
    {
        $title = isset($reply['title']) && is_string($reply['title']) ? $reply['title'] : '';
        $domain = Module::value($params, 'domain');
        $domain = is_string($domain) ? Bridge::plain($domain) : '';
        self::$title = $title === '' || $domain === '' ? $title : $title . ' - ' . $domain;
    }

    public static function page(array $params, array $reply)
    {
        self::entitled($params, $reply);
        return [
            'templatefile' => 'templates/page',
            'breadcrumb' => [self::url($params) => self::said('vmbridge_server')],
            'vars' => self::first(['vmbridgeHtml' => self::filled($params, self::html($reply))]),
        ];
    }

    /** The page of a reply. Throws BridgeException when it has none. */
    public static function html(array $reply)
    {
        if (!isset($reply['html']) || !is_string($reply['html']) || $reply['html'] === '') {
            throw Module::incomplete('page');
        }
        return $reply['html'];
    }

    public static function confirm(array $params, $verb)
    {
        return [
            'templatefile' => 'templates/confirm',
            'breadcrumb' => [self::url($params) => self::said('vmbridge_server')],
            'vars' => self::first([
                'vmbridgeUrl' => self::url($params), 'vmbridgeToken' => self::token(), 'vmbridgeVerb' => $verb,
                'vmbridgeLabel' => self::said('vmbridge_' . $verb),
                'vmbridgeQuestion' => self::said('vmbridge_question'),
                'vmbridgeBack' => self::said('vmbridge_back'),
                'vmbridgeService' => (int) Module::value($params, 'serviceid'),
            ]),
        ];
    }

    /** The bridge is down: what WHMCS itself knows, calmly. */
    public static function fallback(array $params, \Throwable $e)
    {
        return [
            'tabOverviewModuleOutputTemplate' => 'templates/fallback.tpl',
            'templateVariables' => [
                'vmbridgeDown' => self::said('vmbridge_down'), 'vmbridgeDownMore' => self::said('vmbridge_down_more'),
                'vmbridgeServer' => self::said('vmbridge_server'),
                'vmbridgeDomain' => (string) Module::value($params, 'domain'),
                'vmbridgeReason' => self::reason($e),
            ],
        ];
    }

    /** What customers read of it: the bridge's own sentence, else the reference alone. */
    private static function reason(\Throwable $e)
    {
        if (!$e instanceof BridgeException) {
            return '';
        }
        return $e->word() !== '' ? $e->sentence() : ($e->reference() !== '' ? 'reference ' . $e->reference() : '');
    }

    /** Answers a poll of the page's script and ends the request. */
    public static function status(array $params)
    {
        $target = '/status/v1/services/' . (int) Module::value($params, 'serviceid') . '?client='
            . (int) Module::value($params, 'userid');
        $known = isset($_SERVER['HTTP_IF_NONE_MATCH']) ? $_SERVER['HTTP_IF_NONE_MATCH'] : '';
        $extra = preg_match('/\A"?[\w-]{1,80}"?\z/', $known) ? ['If-None-Match: ' . $known] : [];
        self::json($params, $target, Module::PAGE_SECONDS, $extra);
    }

    /** The values of the charts' page for its script; ends the request. */
    public static function charts(array $params, $period, $language)
    {
        $query = http_build_query([
            'client' => (int) Module::value($params, 'userid'), 'language' => $language, 'period' => $period,
        ]);
        self::json($params, Module::path($params, 'charts') . '?' . $query, Module::SUBMIT_SECONDS);
    }

    /** Prints the bridge's JSON, or its sentence, and ends the request. */
    private static function json(array $params, $target, $seconds, array $extra = [])
    {
        Files::alone();
        try {
            list($status, $body, $etag) = (new Bridge($params))->call('GET', $target, null, $seconds, $extra);
        } catch (BridgeException $e) {
            $status = in_array($e->getCode(), [400, 403, 404], true) ? $e->getCode() : 502;
            list($body, $etag) = [['error' => $e->sentence()], ''];
        }
        http_response_code($status);
        header('Content-Type: application/json');
        header('Cache-Control: no-store');
        if (preg_match('/\A(W\/)?"[\w-]{1,80}"\z/', $etag)) {
            header('ETag: ' . $etag);
        }
        echo $status === 304 ? '' : json_encode($body);
        exit;
    }

    public static function redirect(array $params, $page)
    {
        while (ob_get_level() > 0) {
            ob_end_clean();
        }
        $page = Fields::word(['page' => $page], 'page');
        header('Location: ' . self::url($params) . Fields::query(['page' => $page === 'overview' ? '' : $page]), true,
            303);
        exit;
    }

    /**
     * The bridge's own page instead of WHMCS's, for once: nobody may keep, frame or refer from it. Ends the request.
     */
    public static function whole(array $reply)
    {
        $html = self::html($reply);
        if (strlen($html) > self::MAX_WHOLE) {
            throw Module::incomplete('page');
        }
        while (ob_get_level() > 0) {
            ob_end_clean();
        }
        header('Content-Type: text/html; charset=utf-8');
        header('Cache-Control: no-store');
        header('Referrer-Policy: no-referrer');
        header('X-Content-Type-Options: nosniff');
        header('X-Frame-Options: DENY');
        echo $html;
        exit;
    }

    public static function url(array $params)
    {
        return 'clientarea.php?action=productdetails&id=' . (int) Module::value($params, 'serviceid');
    }

    /** bs3 for Six and what is made from it, else bs4. */
    public static function theme()
    {
        return self::themeName() === 'six' ? 'bs3' : 'bs4';
    }

    private static function themeName()
    {
        $name = '';
        if (isset($GLOBALS['smarty']) && is_object($GLOBALS['smarty'])
            && method_exists($GLOBALS['smarty'], 'getTemplateVars')) {
            $name = (string) $GLOBALS['smarty']->getTemplateVars('template');
        }
        if ($name === '' && isset($GLOBALS['CONFIG']['Template'])) {
            $name = (string) $GLOBALS['CONFIG']['Template'];
        }
        return $name;
    }

    private static function token()
    {
        return function_exists('generate_token') ? (string) generate_token('plain') : '';
    }

    /** The two things that only WHMCS knows. */
    private static function filled(array $params, $html)
    {
        $escape = function ($text) {
            return htmlspecialchars($text, ENT_QUOTES, 'UTF-8');
        };
        return strtr(
            $html, ['%%VMBRIDGE_TOKEN%%' => $escape(self::token()), '%%VMBRIDGE_URL%%' => $escape(self::url($params))]);
    }
}
