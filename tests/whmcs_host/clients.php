<?php

/**
 * The client area around the dashboard: who is logged in, the home page with its hooks, an add-on's own page, adding
 * funds, an invoice.
 */

namespace WHMCS\Authentication {
    class CurrentUser
    {
        public function user()
        {
            $id = \login()['user'];
            return $id && \database()->query('SELECT 1 FROM tblusers WHERE id = ' . (int) $id)->fetch()
                ? new \WHMCS\User\User($id) : null;
        }

        public function client()
        {
            $id = \login()['client'];
            return $id ? new \WHMCS\User\Client($id) : null;
        }

        public function isMasqueradingAdmin()
        {
            return !empty(\login()['admin']);
        }
    }
}

namespace WHMCS\User {
    class User
    {
        public $id;

        public function __construct($id)
        {
            $this->id = $id;
        }

        private function column($name)
        {
            return \database()->query("SELECT $name FROM tblusers WHERE id = " . (int) $this->id)->fetchColumn();
        }

        public function hasTwoFactorAuthEnabled()
        {
            return (string) $this->column('second_factor') !== '';
        }

        public function emailVerified()
        {
            return (string) $this->column('email_verified_at') !== '';
        }
    }

    class Client
    {
        public $id;

        public function __construct($id)
        {
            $this->id = $id;
        }
    }
}

namespace {
    const HOME_ADDON = __DIR__ . '/../../whmcs-shim/modules/addons/vmbridgehome/';

    /** Who is logged in: {user, client, admin}; `/test/login` changes it. */
    function login()
    {
        $file = state_dir() . '/login.json';
        return (is_file($file) ? json_decode(file_get_contents($file), true) : [])
            + ['user' => 1, 'client' => 7, 'admin' => 0];
    }

    function log_in(array $who)
    {
        file_put_contents(state_dir() . '/login.json', json_encode($who));
        unset($_SESSION['vmbridgehome'], $_SESSION['Language']); // a login is a session of its own
        return ['result' => 'success'];
    }

    /** An add-on's hooks are there as soon as it is activated. */
    function addon_active()
    {
        return (bool) database()->query("SELECT 1 FROM tbladdonmodules WHERE module = 'vmbridgehome'")->fetch();
    }

    /** The navigation bar as hooks get it. */
    class Bar
    {
        public $entries = [];
        public $values;

        public function __construct(array $values = [])
        {
            $this->values = $values;
        }

        public function addChild($name, array $values = [])
        {
            $this->entries[$name] = new Bar($values + ['name' => $name]);
            $this->entries[$name]->within = $this;
            return $this->entries[$name];
        }

        public $within;

        public function moveToFront()
        {
            $all = &$this->within->entries;
            $all = [$this->values['name'] => $this] + $all;
        }

        public function getChild($name)
        {
            return $this->entries[$name] ?? null;
        }
    }

    /** WHMCS's own bar with what hooks have made of it. */
    function navbar()
    {
        $bar = new Bar();
        foreach (
            ['Home' => 'clientarea.php', 'Services' => 'clientarea.php?action=services',
                'Domains' => 'clientarea.php?action=domains', 'Billing' => 'clientarea.php?action=invoices',
                'Support' => 'supporttickets.php', 'Open Ticket' => 'submitticket.php'] as $label => $uri) {
            $bar->addChild($label, ['label' => $label, 'uri' => $uri]);
        }
        $bar->getChild('Billing')->addChild(
            'My Invoices', ['label' => 'My Invoices', 'uri' => 'clientarea.php?action=invoices']);
        run_hooks('ClientAreaPrimaryNavbar', $bar);
        return $bar;
    }

    function menu_items(Bar $bar)
    {
        $items = [];
        foreach ($bar->entries as $name => $entry) {
            $items[] = new MenuItem(
                $entry->values
                    + ['id' => 'Primary_Navbar-' . str_replace(' ', '_', $name), 'children' => menu_items($entry)]);
        }
        return $items;
    }

    function home_page()
    {
        load_hooks();
        $blocks = run_hooks('ClientAreaHomepage', []);
        $vars = ['filename' => 'clientarea', 'templatefile' => 'clientareahome', 'pagetitle' => 'Client Area'];
        run_hooks('ClientAreaPageHome', $vars);
        if (real_theme() !== '') {
            $stats = [
                'productsnumactive' => 2, 'numdomains' => 1, 'numactivedomains' => 1, 'numactivetickets' => 0,
                'numunpaidinvoices' => 1];
            theme_page(
                real_theme(), 'clientareahome', 'Client Area',
                ['addons_html' => $blocks, 'clientsstats' => $stats, 'panels' => new Sidebar([])], client_sides());
            return;
        }
        $links = '';
        foreach (array_keys(state()['services']) as $known) {
            $links .= '<li><a href="/clientarea.php?action=productdetails&amp;id=' . (int) $known . '">Service '
                . (int) $known . '</a></li>';
        }
        $tiles = '<div class="row" style="height:120px">'
            . str_repeat('<div class="col-6 col-xs-6 col-xl-3">tile</div>', 4) . '</div>';
        frame('Client Area', $tiles . implode('', array_map(function ($html) {
            return '<div>' . $html . '</div>';
        }, $blocks)) . '<ul>' . $links . '</ul>');
    }

    /** What stands beside WHMCS's home page. */
    function client_sides()
    {
        $entry = function ($label) {
            return new MenuItem(
                ['name' => $label, 'label' => $label, 'uri' => '#side', 'id' => 'Primary_Sidebar-' . $label]);
        };
        return ['info' =>
            new MenuItem(
                ['name' => 'Client Details', 'label' => 'Your Info', 'icon' => 'fas fa-user',
                    'children' => [$entry('Ada Byron'), $entry('1 Engine Road'), $entry('Vienna')]]),
            'more' => new MenuItem(['name' => 'Client Shortcuts', 'label' => 'Shortcuts', 'icon' => 'fas '
                . 'fa-bookmark', 'children' => [$entry('Order New Services'), $entry('Logout')]])];
    }

    /** index.php?m=NAME */
    function addon_client_page()
    {
        if (asked('m') !== 'vmbridgehome' || !addon_active()) {
            header('Location: /clientarea.php', true, 303);
            return;
        }
        if (isset($_GET['both'])) {
            load_module(); // WHMCS may have loaded the server module and the staff's add-on in the same request
            require_once __DIR__ . '/../../whmcs-shim/modules/addons/vmbridge/vmbridge.php';
        }
        $smarty = smarty();
        require_once HOME_ADDON . 'vmbridgehome.php';
        load_hooks();
        ob_start();
        $answer = vmbridgehome_clientarea(
            ['modulelink' => 'index.php?m=vmbridgehome', 'version' => vmbridgehome_config()['version'], '_lang' => []]);
        ob_end_clean();
        if ($answer['requirelogin'] && !login()['client']) {
            http_response_code(403);
            frame('Login', 'Please log in.');
            return;
        }
        $smarty->assign($answer['vars']);
        $html = $smarty->fetch(HOME_ADDON . $answer['templatefile'] . '.tpl');
        if (real_theme() !== '') {
            $file = state_dir() . '/addon.tpl';
            file_put_contents($file, '{$addonHtml nofilter}');
            theme_page(real_theme(), 'file:' . $file, $answer['pagetitle'], ['addonHtml' => $html], []);
            return;
        }
        frame($answer['pagetitle'], $html, [], false);
    }

    /** Posting makes an invoice of the kind AddFunds, as WHMCS does, within its limits. */
    function add_funds()
    {
        $error = '';
        if ($_SERVER['REQUEST_METHOD'] === 'POST') {
            check_token();
            $amount = asked('amount');
            $limits = database()->query(
                "SELECT setting, value FROM tblconfiguration WHERE setting LIKE 'AddFunds%'")->fetchAll(
                    PDO::FETCH_KEY_PAIR) + ['AddFundsMinimum' => 1, 'AddFundsMaximum' => 1000];
            if (!preg_match('/\A\d+(\.\d\d?)?\z/', $amount) || $amount < $limits['AddFundsMinimum']
                || $amount > $limits['AddFundsMaximum']) {
                $error = 'Your deposit must be between ' . $limits['AddFundsMinimum'] . ' and '
                    . $limits['AddFundsMaximum'];
            } else {
                $pdo = database();
                $client = (int) login()['client'];
                $today = date('Y-m-d');
                $pdo->prepare(
                    "INSERT INTO tblinvoices (userid, invoicenum, date, duedate, subtotal, credit, tax, tax2, total, "
                        . "status, paymentmethod) VALUES (?, '', ?, ?, ?, '0.00', '0.00', '0.00', ?, 'Unpaid', ?)")
                    ->execute([$client, $today, $today, $amount, $amount, asked('paymentmethod')]);
                $id = (int) $pdo->lastInsertId();
                $pdo->prepare(
                    "INSERT INTO tblinvoiceitems (invoiceid, userid, type, relid, description, amount, taxed, "
                        . "duedate) VALUES (?, ?, 'AddFunds', 0, 'Add Funds', ?, 0, ?)")->execute(
                        [$id, $client, $amount, $today]);
                header('Location: /viewinvoice.php?id=' . $id, true, 303);
                return;
            }
        }
        frame('Add Funds', '<p>' . htmlspecialchars($error)
            . '</p><form method="post" action="clientarea.php?action=addfunds"><input name="amount" '
            . 'aria-label="Amount"></form>');
    }

    function invoice_page()
    {
        $row = database()->query(
            'SELECT * FROM tblinvoices WHERE id = ' . (int) asked('id') . ' AND userid = '
                . (int) login()['client'])->fetch(PDO::FETCH_OBJ);
        http_response_code($row ? 200 : 404);
        frame('Invoice', $row ? 'Invoice ' . $row->id . ' (' . htmlspecialchars($row->status) . '): ' . $row->total
            . ' by ' . htmlspecialchars((string) $row->paymentmethod) : 'There is no such invoice.');
    }

    /** WHMCS's configuration as its pages have it at hand. */
    function load_config()
    {
        $GLOBALS['CONFIG'] = ($GLOBALS['CONFIG'] ?? [])
            + database()->query("SELECT setting, value FROM tblconfiguration WHERE setting = 'Version'")->fetchAll(
                PDO::FETCH_KEY_PAIR);
    }

    /**
     * GetInvoice as modules may ask it from within. Until 8 the balance is the total less the payments; from 9.0 on
     * credit and debit notes count too, which stand in no table that modules know: `notes` of host.json by invoice,
     * credit notes below zero.
     */
    function localAPI($command, array $values = [])
    {
        change_state(function (&$state) use ($command, $values) {
            $state['local_api'][] = [$command, $values];
        });
        $id = (int) ($values['invoiceid'] ?? 0);
        $row = $command === 'GetInvoice'
            ? database()->query('SELECT total, status FROM tblinvoices WHERE id = ' . $id)->fetch(PDO::FETCH_OBJ)
            : null;
        if (!$row) {
            return ['result' => 'error', 'message' => $command === 'GetInvoice' ? 'Invoice ID Not Found'
                : 'Command Not Found'];
        }
        $paid = (float) database()->query(
            'SELECT SUM(amountin - amountout) FROM tblaccounts WHERE invoiceid = ' . $id)->fetchColumn();
        $version = (int) ($GLOBALS['CONFIG']['Version'] ?? 8);
        $notes = $version >= 9 ? (float) (host()['notes'][$id] ?? 0) : 0.0;
        return ['result' => 'success', 'invoiceid' => (string) $id, 'status' => $row->status, 'total' => $row->total,
            'balance' => number_format($row->total - $paid + $notes, 2, '.', '')];
    }

    /** routePath('user-accounts'): another account of the same user, only by POST. */
    function switch_account()
    {
        if ($_SERVER['REQUEST_METHOD'] === 'POST') {
            check_token();
            $who = login();
            $allowed = database()->query(
                'SELECT 1 FROM tblusers_clients WHERE auth_user_id = ' . (int) $who['user'] . ' AND client_id = '
                    . (int) asked('id'))->fetch();
            if ($allowed) {
                log_in(['client' => (int) asked('id')] + $who);
            }
            header('Location: /clientarea.php', true, 303);
            return;
        }
        frame('Switch Account', 'Choose an account.');
    }
}
