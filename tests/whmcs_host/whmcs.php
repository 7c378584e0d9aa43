<?php

/** WHMCS's globals, models, hooks and APIs as far as the shim uses them; everything is recorded in state.json. */

namespace WHMCS\Database {
    /** A transaction over tblhosting in real SQL; what it changed is kept when it ends well. */
    class Connection
    {
        const COLUMNS = ['diskusage', 'disklimit', 'bwusage', 'bwlimit', 'lastupdate'];
        private $pdo;
        private $statements = 0;

        public function transaction(\Closure $work)
        {
            if (!empty(\host()['database_down'])) {
                throw new \PDOException('Lock wait timeout exceeded');
            }
            $this->pdo = new \PDO('sqlite::memory:');
            $this->pdo->exec(
                'CREATE TABLE tblhosting (id INTEGER PRIMARY KEY, server INTEGER, diskusage INTEGER, disklimit '
                    . 'INTEGER, bwusage INTEGER, bwlimit INTEGER, lastupdate TEXT)');
            $add = $this->pdo->prepare('INSERT INTO tblhosting VALUES (?, ?, ?, ?, ?, ?, ?)');
            foreach (\state()['services'] as $id => $service) {
                $of = $service['columns'] ?? [];
                $add->execute(array_merge([$id, $service['server'] ?? 1], array_map(function ($name) use ($of) {
                    return $of[$name] ?? null;
                }, self::COLUMNS)));
            }
            $work($this);
            $rows = $this->pdo->query('SELECT * FROM tblhosting')->fetchAll(\PDO::FETCH_ASSOC);
            \change_state(function (&$state) use ($rows) {
                $state['statements'] = $this->statements;
                foreach ($rows as $row) {
                    $state['services'][$row['id']]['columns'] = array_intersect_key($row, array_flip(self::COLUMNS));
                }
            });
        }

        public function update($sql, array $values = [])
        {
            $this->statements++;
            $statement = $this->pdo->prepare($sql);
            $statement->execute($values);
            return $statement->rowCount();
        }
    }
}

namespace WHMCS\Service {
    class Service
    {
        public $id;
        public $domainstatus;
        public $serviceProperties;

        public function __construct($id, $status)
        {
            $this->id = $id;
            $this->domainstatus = $status;
            $this->serviceProperties = new Properties($id);
        }
    }

    class Properties
    {
        /** Names that WHMCS keeps in columns; every other one is a custom field of the product. */
        const COLUMNS = [
            'Username' => 'username', 'Password' => 'password', 'Domain' => 'domain', 'License Key' => 'license',
            'Dedicated IP' => 'dedicatedip'];
        private $id;

        public function __construct($id)
        {
            $this->id = $id;
        }

        public function save(array $values)
        {
            \change_state(function (&$state) use ($values) {
                foreach ($values as $name => $value) {
                    $state['services'][$this->id]['properties'][$name] = $value;
                    if (isset(self::COLUMNS[$name])) {
                        $state['services'][$this->id][self::COLUMNS[$name]] = $value;
                    } else {
                        $state['services'][$this->id]['custom_fields'][$name] = $value; // made where there was none
                    }
                }
            });
        }

        public function get($name)
        {
            return \state()['services'][$this->id]['properties'][$name] ?? '';
        }
    }
}

namespace {
    define('WHMCS', true);
    $GLOBALS['hooks'] = [];

    function state_dir()
    {
        return getenv('VMBRIDGE_HOST_STATE');
    }

    function state()
    {
        $file = state_dir() . '/state.json';
        return is_file($file) ? json_decode(file_get_contents($file), true)
            : ['services' => [], 'mails' => [], 'mail_log' => [], 'module_log' => [], 'activity' => [], 'api' => []];
    }

    function change_state(callable $change)
    {
        $lock = fopen(state_dir() . '/state.lock', 'c');
        flock($lock, LOCK_EX);
        $state = state();
        $change($state);
        file_put_contents(state_dir() . '/state.json.new', json_encode($state));
        rename(state_dir() . '/state.json.new', state_dir() . '/state.json');
        unset($GLOBALS['host_mirrored']);
        flock($lock, LOCK_UN);
    }

    function host()
    {
        return json_decode(file_get_contents(state_dir() . '/host.json'), true);
    }

    /** What staff or a customer typed, as WHMCS keeps it and hands it to modules: with entities. */
    function kept($value)
    {
        if (is_array($value)) {
            $plain = [];
            foreach ($value as $name => $inner) {
                $plain[is_string($name) ? kept($name) : $name] = kept($inner);
            }
            return $plain;
        }
        return is_string($value) ? htmlspecialchars($value, ENT_QUOTES, 'UTF-8') : $value;
    }

    /** Rows of WHMCS's tables by id, as far as the shim reads them. */
    function host_rows($table)
    {
        $rows = ['tblemailtemplates' => [5 => ['name' => 'VPS Welcome Email']], 'tblproducts' => []];
        foreach (products() as $id => $product) {
            $rows['tblproducts'][$id] = kept($product) + ['welcomeemail' => 0, 'servertype' => 'vmbridge'];
        }
        foreach (state()['services'] as $id => $service) {
            $rows['tblhosting'][$id] = [
                'id' => $id, 'userid' => $service['userid'], 'server' => $service['server'] ?? 1,
                'domainstatus' => $service['status'],
                'domain' => kept($service['domain']), 'packageid' => $service['pid'],
                'password' => strrev(kept($service['password']))];
        }
        foreach (state()['options'] ?? [] as $cid => $option) {
            $rows['tblproductconfigoptions'][$cid] = [
                'optionname' => kept($option['optionname']), 'optiontype' => $option['optiontype']];
            foreach ($option['subs'] as $sub => $name) {
                $rows['tblproductconfigoptionssub'][$sub] = ['configid' => $cid, 'optionname' => kept($name)];
            }
        }
        foreach (state()['services'] as $id => $service) {
            foreach ($service['chosen'] ?? [] as $cid => $value) {
                $counted = in_array(state()['options'][$cid]['optiontype'], [3, 4], true);
                $rows['tblhostingconfigoptions'][] = [
                    'relid' => $id, 'configid' => $cid, 'optionid' => $counted ? 0 : $value, 'qty' => $counted ? $value
                        : 0];
            }
        }
        $rows['tbladmins'][1] = ['username' => 'grace'];
        foreach (server_records() as $i => $s) {
            $rows['tblservers'][$i + 1] = [
                'id' => $i + 1, 'name' => 'Bridge ' . ($i + 1), 'type' => $s['type'] ?? 'vmbridge',
                'hostname' => kept($s['hostname']),
                'ipaddress' => '', 'port' => $s['port'], 'secure' => $s['secure'] ? 'on' : '',
                'username' => kept($s['username']),
                'password' => strrev(kept($s['password'])), 'accesshash' => kept($s['accesshash']),
                'disabled' => $s['disabled'] ?? 0];
        }
        return $rows[$table] ?? [];
    }

    /** A service's configurable options as a module gets them: by the name before the `|`, with the chosen value's. */
    function options_of(array $service)
    {
        $options = $service['configoptions'];
        foreach ($service['chosen'] ?? [] as $cid => $value) {
            $option = state()['options'][$cid];
            $options[explode('|', $option['optionname'])[0]] = in_array($option['optiontype'], [3, 4], true) ? $value
                : explode('|', $option['subs'][$value])[0];
        }
        return $options;
    }

    /** Products of the shop: id -> columns of tblproducts; more come with the order of a test. */
    function products()
    {
        return [1 => ['welcomeemail' => 5], 2 => []] + (state()['products'] ?? []);
    }

    function decrypt($text)
    {
        return strrev($text);
    }

    function json_reply($value)
    {
        header('Content-Type: application/json');
        echo json_encode($value);
    }

    // -- WHMCS's globals --------------------------------------------------------------------------
    function add_hook($point, $priority, callable $function)
    {
        $GLOBALS['hooks'][$point][] = $function;
    }

    /** `$vars`: variables, or the menu. */
    function run_hooks($point, $vars)
    {
        $answers = [];
        foreach ($GLOBALS['hooks'][$point] ?? [] as $function) {
            $answers = array_merge($answers, (array) $function($vars));
        }
        return $answers;
    }

    function logModuleCall($module, $action, $request, $response, $processed = '', $mask = [])
    {
        $line = str_replace(
            array_filter($mask), '***', json_encode([$action, $request, $response], JSON_UNESCAPED_SLASHES));
        change_state(function (&$state) use ($line) {
            $state['module_log'][] = $line;
        });
    }

    function logActivity($text, $client = 0)
    {
        change_state(function (&$state) use ($text) {
            $state['activity'][] = $text;
        });
    }

    function generate_token($kind = 'form')
    {
        return 'token-' . substr(hash('sha256', session_id()), 0, 20);
    }

    function check_token($namespace = 'WHMCS.default')
    {
        if (!hash_equals(generate_token('plain'), asked('token'))) {
            http_response_code(403);
            echo 'Invalid token';
            exit;
        }
    }

    function load_module()
    {
        require_once __DIR__ . '/../../whmcs-shim/modules/servers/vmbridge/vmbridge.php';
        load_hooks();
    }

    /** WHMCS loads these on every page, the module only where it is used. */
    function load_hooks()
    {
        require_once __DIR__ . '/../../whmcs-shim/modules/servers/vmbridge/hooks.php';
        if (addon_active()) {
            require_once HOME_ADDON . 'hooks.php';
        }
    }

    // -- services ---------------------------------------------------------------------------------
    function order(array $wish)
    {
        change_state(function (&$state) use ($wish) {
            $state['services'][$wish['serviceid']] = $wish + [
                'userid' => 7, 'pid' => 1, 'domain' => 'vm-' . $wish['serviceid'] . '.example.com',
                'status' => 'Pending',
                'password' => 'Welcome-42-pass', 'configoption1' => 'kvm-s', 'properties' => [], 'configoptions' => [],
            ];
        });
        return ['result' => 'success'];
    }

    function server_records()
    {
        return array_merge([host()['server']], host()['servers'] ?? []); // `servers` of host.json are further records
    }

    function server_params($id = 1)
    {
        $server = server_records()[$id - 1];
        return [
            'server' => true, 'serverid' => $id, 'serverip' => '', 'serverhostname' => kept($server['hostname']),
            'serverport' => $server['port'],
            'serversecure' => $server['secure'], 'serverhttpprefix' => $server['secure'] ? 'https' : 'http',
            'serverusername' => kept($server['username']), 'serverpassword' => kept($server['password']),
            'serveraccesshash' => kept($server['accesshash']),
        ];
    }

    function params($id)
    {
        $service = state()['services'][$id];
        $params = server_params($service['server'] ?? 1) + [
            'serviceid' => $id, 'accountid' => $id, 'userid' => $service['userid'], 'pid' => $service['pid'],
            'domain' => kept($service['domain']),
            'username' => 'vm' . $id, 'password' => kept($service['password']), 'status' => $service['status'],
            'moduletype' => 'vmbridge',
            'producttype' => 'server', 'configoptions' => kept(options_of($service)),
            'customfields' =>
                kept(['vmbridge_id' => $service['properties']['vmbridge_id'] ?? ''] + ($service['customfields'] ?? [])),
            'clientsdetails' =>
                ['firstname' => kept($service['firstname'] ?? 'Ada'), 'lastname' => 'L', 'email' => 'ada@example.com',
                    'language' => $_GET['language'] ?? $service['language'] ?? 'english', 'model' => new stdClass(),
                    'notes' => 'private'],
            'model' => new WHMCS\Service\Service($id, $service['status']), 'whmcsVersion' => '9.0.3-release.1',
            'addonId' => $service['addonId'] ?? 0,
        ];
        for ($i = 1; $i <= 24; $i++) {
            $params['configoption' . $i] = kept($service['configoption' . $i] ?? '');
        }
        return $params;
    }

    /** As WHMCS runs a module command: the status follows "success", create is followed by the welcome mail. */
    function run_module($id, $action)
    {
        load_module();
        $result = call_user_func('vmbridge_' . $action, params($id));
        $next = [
            'CreateAccount' => 'Active', 'SuspendAccount' => 'Suspended', 'UnsuspendAccount' => 'Active',
            'TerminateAccount' => 'Terminated'];
        if ($result === 'success' && isset($next[$action])) {
            change_state(function (&$state) use ($id, $action, $next) {
                $state['services'][$id]['status'] = $next[$action];
            });
            if ($action === 'CreateAccount' && state()['services'][$id]['pid'] === 1) {
                send_mail(
                    'VPS Welcome Email', $id, 'Welcome. Your password is ' . state()['services'][$id]['password']);
            }
        }
        return $result;
    }

    /**
     * Staff saves the service's page with another domain; WHMCS asks the hooks before and after, each with the ids
     * alone.
     */
    function edit_service($id, $domain)
    {
        load_module();
        $_SESSION = ['adminid' => 1]; // in WHMCS's admin area
        $vars = ['userid' => 7, 'serviceid' => $id];
        run_hooks('PreServiceEdit', ['serviceid' => $id]);
        run_hooks('PreAdminServiceEdit', $vars);
        change_state(function (&$state) use ($id, $domain) {
            $state['services'][$id]['domain'] = $domain;
        });
        run_hooks('ServiceEdit', $vars);
        run_hooks('AdminServiceEdit', $vars);
        return ['result' => 'success'];
    }

    /** A customer's upgrade to a product: first WHMCS's validation hook, then (paid) the module's ChangePackage. */
    function upgrade($id, $pid, array $columns)
    {
        change_state(function (&$state) use ($pid, $columns) {
            $state['products'][$pid] = $columns;
        });
        load_module();
        $errors = run_hooks('ShoppingCartValidateUpgrade', ['id' => $id, 'pid' => $pid]);
        if ($errors !== []) {
            return ['errors' => $errors];
        }
        change_state(function (&$state) use ($id, $pid, $columns) {
            $state['services'][$id] = array_merge($state['services'][$id], $columns, ['pid' => $pid]);
        });
        return ['result' => run_module($id, 'ChangePackage')];
    }

    // -- mails and the remote API -----------------------------------------------------------------
    function send_mail($name, $id, $text)
    {
        load_module();
        $answer = run_hooks('EmailPreSend', ['messagename' => $name, 'relid' => $id, 'mergefields' => []]);
        if (!empty($answer['abortsend'])) {
            return false;
        }
        $logged = run_hooks(
            'EmailPreLog', ['userid' => 7, 'to' => 'ada@example.com', 'subject' => $name, 'message' => $text]);
        change_state(function (&$state) use ($name, $id, $text, $logged) {
            $state['mails'][] = ['name' => $name, 'service' => $id, 'text' => $text];
            $state['mail_log'][] = $logged['message'] ?? $text;
        });
        return true;
    }

    function remote_api(array $form)
    {
        $host = host();
        if (($form['responsetype'] ?? '') !== 'json') {
            echo 'result=error;message=this host speaks JSON only;';
            return;
        }
        if (!hash_equals($host['api_identifier'], $form['identifier'] ?? '')
            || !hash_equals($host['api_secret'], $form['secret'] ?? '')) {
            http_response_code(403);
            json_reply(['result' => 'error', 'message' => 'Authentication Failed']);
            return;
        }
        unset($form['identifier'], $form['secret']);
        change_state(function (&$state) use ($form) {
            $state['api'][] = $form;
        });
        switch ($form['action'] ?? '') {
            case 'SendEmail':
                if (($form['customtype'] ?? '') === 'general') { // its id is a client's, not a service's
                    $known = \WHMCS\Database\Capsule::table('tblclients')->where(
                        'id', (int) $form['id'])->first() !== null;
                    $sent = $known && send_mail($form['customsubject'], (int) $form['id'], $form['custommessage']);
                    json_reply($sent ? ['result' => 'success'] : ['result' => 'error', 'message' => 'Sending Failed']);
                    return;
                }
                $service = state()['services'][$form['id']] ?? null;
                $text = isset($form['custommessage'])
                    ? str_replace(
                        ['{$service_password}', '{$client_first_name}'], [$service['password'] ?? '', 'Ada'],
                        $form['custommessage']) : 'Welcome. Your password is ' . ($service['password'] ?? '');
                $sent = $service !== null
                    && send_mail($form['messagename'] ?? $form['customsubject'], (int) $form['id'], $text);
                json_reply($sent ? ['result' => 'success'] : ['result' => 'error', 'message' => 'Sending Failed']);
                return;
            case 'GetClientsProducts':
                json_reply(['result' => 'success', 'totalresults' => '0', 'products' => ['product' => []]]);
                return;
            case 'UpdateClientProduct':
                change_state(function (&$state) use ($form) {
                    $service = &$state['services'][$form['serviceid']];
                    foreach (['dedicatedip', 'assignedips', 'domain', 'notes'] as $field) {
                        if (($form[$field] ?? '') !== '') { // what is empty is left alone
                            $service[$field] = $form[$field];
                        }
                        if (in_array($field, (array) ($form['unset'] ?? []), true)) {
                            $service[$field] = '';
                        }
                    }
                    $service['properties']['Dedicated IP'] = $service['dedicatedip'] ?? '';
                });
                json_reply(['result' => 'success', 'serviceid' => $form['serviceid']]);
                return;
            case 'GetSupportDepartments':
            case 'OpenTicket':
            case 'GetTickets':
            case 'GetTicket':
            case 'AddTicketReply':
                json_reply(ticket_api($form));
                return;
            case 'SendAdminEmail':
            case 'LogActivity':
                json_reply(['result' => 'success']);
                return;
        }
        json_reply(['result' => 'error', 'message' => 'Command Not Found']);
    }
}
