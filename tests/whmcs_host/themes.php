<?php

/**
 * WHMCS's own themes around our pages, where a copy of them is given: VMBRIDGE_THEME_DIR names the folder in which the
 * folders twenty-one, nexus and six stand (WHMCS publishes them). Only what a product's page needs of WHMCS is here.
 */

namespace WHMCS\View {
    class Asset
    {
        public static function fontCssInclude($name)
        {
            return '';
        }
    }
}

namespace WHMCS\Utility\Environment {
    class WebHelper
    {
        public static function getBaseUrl()
        {
            return '';
        }
    }
}

namespace {
    const THEMES = ['twenty-one', 'nexus', 'six'];

    /** A sidebar, a navigation bar or one entry of either. */
    class MenuItem
    {
        private $values;

        public function __construct(array $values)
        {
            $this->values = $values + ['children' => []];
        }

        public function __call($method, array $arguments)
        {
            $name = lcfirst(preg_replace('/^(get|has|is)/', '', $method));
            $value = $this->values[$name] ?? null;
            return strpos($method, 'get') === 0 ? $value : ($name === 'children' ? $value !== [] : (bool) $value);
        }

        public function getExtra($name)
        {
            return null;
        }

        public function getAttribute($name)
        {
            return $this->values['attributes'][$name] ?? null;
        }

        public function getChildrenAttribute($name)
        {
            return null;
        }
    }

    function theme_dir()
    {
        return rtrim((string) getenv('VMBRIDGE_THEME_DIR'), '/');
    }

    /** The real theme that is asked for, empty where none is given: then our own frame has its measures. */
    function real_theme()
    {
        $asked = $_GET['theme'] ?? $_COOKIE['theme'] ?? 'twenty-one';
        $asked = in_array($asked, THEMES, true) ? $asked : 'twenty-one';
        return theme_dir() !== '' && is_file(theme_dir() . '/' . $asked . '/header.tpl') ? $asked : '';
    }

    function routePath($name, ...$more)
    {
        return '/' . str_replace('-', '/', preg_replace('/-(?=verification|resend|add)/', '_', $name));
    }

    function get_flash_message()
    {
        return null;
    }

    /** WHMCS's language files are not public: a key becomes readable words. */
    function in_english($key)
    {
        $known = [
            'clientareahostingregdate' => 'Registration Date', 'recurringamount' => 'Recurring Amount',
            'orderbillingcycle' => 'Billing Cycle',
            'clientareahostingnextduedate' => 'Next Due Date', 'orderpaymentmethod' => 'Payment Method',
            'sslserverinfo' => 'Server Information',
            'orderconfigpackage' => 'Configurable Options', 'additionalInfo' => 'Additional Information',
            'resourceUsage' => 'Resource Usage',
            'metrics.title' => 'Metrics', 'diskSpace' => 'Disk Space', 'clientarealastupdated' => 'Last Updated',
            'cancellationrequested' => 'Cancellation Requested', 'serverhostname' => 'Hostname',
            'primaryIP' => 'Primary IP', 'assignedIPs' => 'Assigned IPs',
            'upgrade' => 'Upgrade/Downgrade', 'clientareacancelrequestbutton' => 'Request Cancellation',
            'moduleactionsuccess' => 'Action Completed Successfully!',
            'moduleactionfailed' => 'Action Failed', 'firstpaymentamount' => 'First Payment Amount',
            'loggedInAs' => 'Logged in as', 'manage' => 'Manage',
        ];
        return $known[$key] ?? ucfirst(trim(preg_replace('/(?<!^)[A-Z]/', ' $0', str_replace('.', ' ', $key))));
    }

    function theme_smarty($theme)
    {
        $smarty = smarty();
        $smarty->setTemplateDir(theme_dir());
        $smarty->assign('template', $theme);
        $smarty->registerPlugin('function', 'assetPath', function ($of) use ($theme) {
            $folder = substr($of['file'] ?? '', -3) === '.js' ? 'js' : 'css';
            return '/templates/' . $theme . '/' . $folder . '/' . ($of['file'] ?? '');
        });
        foreach (
            ['addslashes', 'strtolower', 'strtoupper', 'is_array', 'in_array', 'ucfirst', 'number_format', 'substr',
                'count', 'is_string'] as $function) {
            $smarty->registerPlugin('modifier', $function, $function);
        }
        $smarty->registerPlugin('block', 'assetExists', function () {
            return '';
        });
        return $smarty;
    }

    function side_menus($id, array $buttons)
    {
        $address = '/clientarea.php?action=productdetails&id=' . $id;
        $entry = function ($label, $uri, $icon, $current = false, $more = []) {
            return new MenuItem(
                ['name' => $label, 'label' => $label, 'uri' => $uri, 'icon' => $icon, 'id' => 'Primary_Sidebar-'
                    . preg_replace('/\W+/', '_', $label), 'current' => $current] + $more);
        };
        $actions = [];
        foreach ($buttons as $label => $suffix) {
            $actions[] = $entry($label, $address . '&modop=custom&a=' . $suffix, 'fas fa-wrench');
        }
        $actions[] = $entry('Change Password', '#tabChangepw', '', false, ['attributes' => ['dataToggleTab' => true]]);
        $actions[] = $entry('Upgrade/Downgrade', '/upgrade.php?type=package&id=' . $id, '');
        $actions[] = $entry('Request Cancellation', '#cancel', '');
        return [
            'overview' =>
                new MenuItem(
                    ['name' => 'Overview', 'label' => 'Overview', 'icon' => 'fas fa-star',
                        'children' => [$entry('Information', $address, '', true)]]),
            'actions' =>
                new MenuItem(
                    ['name' => 'Actions', 'label' => 'Actions', 'icon' => 'fas fa-wrench', 'children' => $actions]),
        ];
    }

    /** What WHMCS gives its templates on every page of the client area. */
    function theme_vars($title, $id, array $buttons)
    {
        load_hooks();
        $head = run_hooks('ClientAreaHeadOutput', ['filename' => 'clientarea', 'template' => real_theme()]);
        $sides = $id ? side_menus($id, $buttons) : $buttons;
        $bar = menu_items(navbar());
        return [
            'charset' => 'utf-8', 'pagetitle' => $title, 'companyname' => 'Example Hosting', 'WEB_ROOT' => '',
            'versionHash' => '1', 'language' => 'english',
            'loggedin' => true,
            'client' => ['companyname' => '', 'fullName' => 'Ada Byron', 'email' => 'ada@example.com'],
            'clientsdetails' => ['firstname' => 'Ada', 'lastname' => 'Byron'],
            'clientAlerts' => [], 'cartitemcount' => 0, 'primaryNavbar' => $bar, 'secondaryNavbar' => [],
            'primarySidebar' => new Sidebar($sides),
            'secondarySidebar' => new Sidebar([]),
            'breadcrumb' => [['label' => 'Portal Home', 'link' => '#'], ['label' => $title, 'link' => '#']],
            'templatefile' => 'clientareaproductdetails', 'displayTitle' => $title, 'tagline' => '',
            'token' => generate_token(), 'date_year' => '2026', 'maximumPasswordLength' => 64, 'LANG' => new Words(),
            'activeLocale' => ['countryCode' => 'GB', 'localisedName' => 'English'], 'locales' => [],
            'currencies' => [], 'inShoppingCart' => false, 'socialAccounts' => [],
            'openNetworkIssueCounts' => ['open' => 0, 'scheduled' => 0], 'headoutput' => implode("\n", $head),
            'headeroutput' => '', 'condlinks' => [],
        ];
    }

    /** `$LANG.key` and `$LANG.group.key` of the old theme. */
    class Words implements ArrayAccess
    {
        private $key;

        public function __construct($key = '')
        {
            $this->key = $key;
        }

        public function __toString()
        {
            return in_english($this->key);
        }

        public function offsetExists($key): bool
        {
            return true;
        }

        #[\ReturnTypeWillChange]
        public function offsetGet($key)
        {
            return new self(ltrim($this->key . '.' . $key, '.'));
        }

        public function offsetSet($key, $value): void
        {
        }

        public function offsetUnset($key): void
        {
        }
    }

    /** A sidebar as the templates ask it: a list that can be gone through, with `hasChildren`. */
    class Sidebar extends ArrayIterator
    {
        public function hasChildren()
        {
            return count($this) > 0;
        }
    }

    /** A page in a real theme; `$sides` are the panels beside it. */
    function theme_page($theme, $template, $title, array $of, array $sides)
    {
        $smarty = theme_smarty($theme);
        $smarty->assign(
            $of + theme_vars($title, 0, $sides)
                + ['footeroutput' =>
                    implode("\n", run_hooks('ClientAreaFooterOutput', ['filename' => 'index', 'template' => $theme]))]);
        $file = strpos($template, 'file:') === 0 ? $template : $theme . '/' . $template . '.tpl';
        foreach ([$theme . '/header.tpl', $file, $theme . '/footer.tpl'] as $part) {
            echo $smarty->fetch($part);
        }
    }

    /**
     * The product's page in a real theme. `$of`: moduleclientarea or tplOverviewTabOutput, and
     * modulecustombuttonresult.
     */
    function theme_product($theme, $id, array $service, array $of, array $buttons, $title)
    {
        $smarty = theme_smarty($theme);
        $vars = ['pagetitle' => $title] + theme_vars('Manage Product', $id, $buttons);
        $vars = $of + $vars + product_vars($id, $service);
        $footer = implode(
            "\n", run_hooks(
                'ClientAreaFooterOutput',
                ['filename' => 'clientarea', 'template' => $theme, 'language' => $_GET['language'] ?? 'english',
                    'loggedin' => true]));
        $smarty->assign($vars + ['footeroutput' => $footer]);
        foreach (['header', 'clientareaproductdetails', 'footer'] as $part) {
            echo $smarty->fetch($theme . '/' . $part . '.tpl');
        }
    }

    /** A page that a custom function returns, in a real theme. */
    function theme_answer($theme, $id, $html, array $buttons, $title)
    {
        $smarty = theme_smarty($theme);
        $smarty->assign(['pagetitle' => $title] + theme_vars('Manage Product', $id, $buttons) + ['footeroutput' => '']);
        echo $smarty->fetch($theme . '/header.tpl'), $html, $smarty->fetch($theme . '/footer.tpl');
    }

    /** What WHMCS gives the template of a product's page. */
    function product_vars($id, array $service)
    {
        $options = $fields = $metrics = [];
        foreach ($service['configoptions'] ?? [] as $name => $value) {
            $options[] = [
                'optionname' => htmlspecialchars($name), 'optiontype' => 1,
                'selectedoption' => htmlspecialchars((string) $value), 'selectedqty' => 0];
        }
        foreach ($service['customfields'] ?? [] as $name => $value) {
            $fields[] = ['name' => htmlspecialchars($name), 'value' => htmlspecialchars((string) $value)];
        }
        foreach ($service['metrics'] ?? [] as $name => $metric) {
            $metrics[] = [
                'systemName' => $name, 'displayName' => $metric['title'], 'currentValue' => $metric['shown'],
                'pricing' => [],
                'price' => host()['prices'][$name] ?? '', 'lastUpdated' => date('Y-m-d H:i', $metric['at']),
            ];
        }
        $columns = ($service['columns'] ?? [])
            + ['lastupdate' => '', 'diskusage' => 0, 'disklimit' => 0, 'bwusage' => 0, 'bwlimit' => 0,
                'assignedips' => ''];
        return [
            'id' => $id, 'type' => 'server', 'product' => 'Cloud server S', 'groupname' => 'Virtual servers',
            'rawstatus' => 'active',
            'status' => $service['status'] ?? 'Active', 'packagesupgrade' => true, 'showcancelbutton' => true,
            'pendingcancellation' => false, 'regdate' => '26/11/2026',
            'firstpaymentamount' => '9.00 EUR', 'recurringamount' => '9.00 EUR', 'billingcycle' => 'Monthly',
            'nextduedate' => '26/12/2026',
            'paymentmethod' => 'Bank Transfer', 'suspendreason' => '',
            'domain' => htmlspecialchars($service['domain'] ?? ''),
            'dedicatedip' => $service['properties']['Dedicated IP'] ?? '', 'assignedips' => $columns['assignedips'],
            'configurableoptions' => $options,
            'customfields' => $fields, 'metricStats' => $metrics, 'lastupdate' => $columns['lastupdate'],
            'hookOutput' => [], 'downloads' => [], 'addons' => [],
            'serverdata' => [], 'diskpercent' => '10%', 'bwpercent' => '10%', 'diskusage' => $columns['diskusage'],
            'disklimit' => $columns['disklimit'] ?: 'Unlimited',
            'bwusage' => $columns['bwusage'], 'bwlimit' => $columns['bwlimit'] ?: 'Unlimited',
        ];
    }

    function lang_plugins(Smarty $smarty)
    {
        $smarty->registerPlugin('function', 'lang', function ($of) {
            return in_english($of['key'] ?? '');
        });
    }

    /** A file of a theme, and the fonts that all of them ask for. */
    function theme_file($path)
    {
        $types = [
            'css' => 'text/css', 'js' => 'text/javascript', 'png' => 'image/png', 'svg' => 'image/svg+xml',
            'woff2' => 'font/woff2'];
        if (preg_match('#^/assets/fonts/css/fontawesome\.min\.css\z#', $path)) {
            header('Content-Type: text/css');
            echo '@import url(/assets/@fortawesome/fontawesome-free/css/all.min.css);';
            return true;
        }
        if (theme_dir() === '' || !preg_match('#^/templates/((?:twenty-one|nexus|six)/[\w./@-]+)\z#', $path, $m)
            || strpos($m[1], '..') !== false) {
            return false;
        }
        $file = theme_dir() . '/' . $m[1];
        if (!is_file($file)) {
            return false;
        }
        header('Content-Type: ' . ($types[pathinfo($file, PATHINFO_EXTENSION)] ?? 'application/octet-stream'));
        readfile($file);
        return true;
    }
}
