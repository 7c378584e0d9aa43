<?php

/**
 * WHMCS's tables as far as modules read them, in real SQL (SQLite beside state.json), and Capsule over them. What the
 * rest of this host keeps in state.json (services, products, server records) is in these tables as soon as somebody
 * asks.
 */

namespace WHMCS\Database {
    /** Of Illuminate's query builder what is used; whatever else is called is a fault of the module. */
    class Capsule
    {
        private $from;
        private $columns = ['*'];
        private $joins = '';
        private $wheres = [];
        private $bound = [];
        private $orders = [];
        private $groups = [];
        private $limit = '';

        public static function table($name)
        {
            $made = new self();
            $made->from = self::named($name);
            return $made;
        }

        public static function raw($text)
        {
            return new Raw($text);
        }

        public static function schema()
        {
            return new Builder();
        }

        public static function connection()
        {
            return new Connection();
        }

        private static function named($name)
        {
            if (!preg_match('/\A((?:tbl|mod_)\w+)(?: as (\w+))?\z/', $name, $m)) {
                throw new \PDOException('Neither a table of WHMCS nor of an add-on: ' . $name);
            }
            return $m[1] . (isset($m[2]) ? ' AS ' . $m[2] : '');
        }

        private static function column($name)
        {
            if ($name instanceof Raw) {
                return $name->text;
            }
            if (!preg_match('/\A(?:\w+\.)?(\w+|\*)(?: as \w+)?\z/', $name)) {
                throw new \PDOException('Unknown column ' . $name);
            }
            return preg_replace('/\b(order|default|date|type|level|value|group)\b/', '"$1"', $name);
        }

        public function select(...$columns)
        {
            $this->columns = is_array($columns[0]) ? $columns[0] : $columns;
            return $this;
        }

        public function join($table, $left, $operator, $right, $kind = 'INNER')
        {
            $this->joins .= ' ' . $kind . ' JOIN ' . self::named($table) . ' ON ' . self::column($left) . ' '
                . $operator . ' ' . self::column($right);
            return $this;
        }

        public function leftJoin($table, $left, $operator, $right)
        {
            return $this->join($table, $left, $operator, $right, 'LEFT');
        }

        public function where($column, $operator, $value = null)
        {
            list($operator, $value) = func_num_args() === 2 ? ['=', $operator] : [$operator, $value];
            $this->wheres[] = self::column($column) . ' ' . $operator . ' ?';
            $this->bound[] = $value;
            return $this;
        }

        public function whereIn($column, array $values, $not = '')
        {
            $this->wheres[] = $values === [] ? ($not ? '1 = 1' : '0 = 1') : self::column($column) . $not . ' IN ('
                . implode(',', array_fill(0, count($values), '?')) . ')';
            array_push($this->bound, ...array_values($values));
            return $this;
        }

        public function whereNotIn($column, array $values)
        {
            return $this->whereIn($column, $values, ' NOT');
        }

        public function whereNull($column)
        {
            $this->wheres[] = self::column($column) . ' IS NULL';
            return $this;
        }

        public function orderBy($column, $direction = 'asc')
        {
            $this->orders[] = self::column($column) . ' ' . $direction;
            return $this;
        }

        public function groupBy(...$columns)
        {
            $this->groups = array_map([self::class, 'column'], $columns);
            return $this;
        }

        public function limit($most)
        {
            $this->limit = ' LIMIT ' . (int) $most;
            return $this;
        }

        public function get(array $columns = null)
        {
            $sql = 'SELECT ' . implode(', ', array_map([self::class, 'column'], $columns ?: $this->columns)) . ' FROM '
                . $this->from . $this->joins
                . ($this->wheres ? ' WHERE ' . implode(' AND ', $this->wheres) : '')
                . ($this->groups ? ' GROUP BY ' . implode(', ', $this->groups) : '')
                . ($this->orders ? ' ORDER BY ' . implode(', ', $this->orders) : '') . $this->limit;
            return new \ArrayObject(\database_rows($sql, $this->bound)); // WHMCS gives a Collection: iterable, no array
        }

        /** Of tables of add-ons; WHMCS's own are not theirs to change. */
        private function own($sql)
        {
            if (strpos($this->from, 'mod_') !== 0) {
                throw new \PDOException('An add-on writes into a table of WHMCS: ' . $this->from);
            }
            return \database_rows(
                $sql . ($this->wheres ? ' WHERE ' . implode(' AND ', $this->wheres) : ''), $this->bound, true);
        }

        public function delete()
        {
            return $this->own('DELETE FROM ' . $this->from);
        }

        public function update(array $values)
        {
            array_unshift($this->bound, ...array_values($values));
            return $this->own(
                'UPDATE ' . $this->from . ' SET '
                    . implode(' = ?, ', array_map([self::class, 'column'], array_keys($values))) . ' = ?');
        }

        public function insert(array $values)
        {
            $this->bound = array_values($values);
            return (bool) $this->own(
                'INSERT INTO ' . $this->from . ' ('
                    . implode(', ', array_map([self::class, 'column'], array_keys($values))) . ') VALUES ('
                    . implode(', ', array_fill(0, count($values), '?')) . ')');
        }

        public function updateOrInsert(array $of, array $values)
        {
            foreach ($of as $column => $value) {
                $this->where($column, $value);
            }
            if ($this->first() !== null) {
                return (bool) $this->update($values);
            }
            $fresh = self::table($this->from);
            return $fresh->insert($of + $values);
        }

        public function first()
        {
            return $this->limit(1)->get()[0] ?? null;
        }

        public function value($column)
        {
            $row = $this->limit(1)->get([$column])[0] ?? null;
            return $row === null ? null : array_values((array) $row)[0];
        }
    }

    class Builder
    {
        public function hasTable($name)
        {
            return (bool) \database_rows("SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?", [$name]);
        }

        public function create($name, \Closure $columns)
        {
            if (!preg_match('/\Amod_[a-z_]+\z/', $name)) {
                throw new \PDOException('A table of an add-on begins with mod_: ' . $name);
            }
            $columns($table = new Blueprint());
            \database_rows('CREATE TABLE ' . $name . ' (' . implode(', ', $table->columns) . ')', []);
        }
    }

    class Blueprint
    {
        public $columns = [];

        public function integer($name)
        {
            $this->columns[] = $name . ' INTEGER NOT NULL';
            return $this;
        }

        public function string($name, $length)
        {
            $this->columns[] = $name . ' VARCHAR(' . (int) $length . ') NOT NULL';
            return $this;
        }

        public function unsigned()
        {
            return $this;
        }

        public function primary()
        {
            return $this->also(' PRIMARY KEY');
        }

        public function default($value)
        {
            return $this->also(" DEFAULT '" . $value . "'");
        }

        private function also($text)
        {
            $this->columns[] = array_pop($this->columns) . $text;
            return $this;
        }
    }

    class Raw
    {
        public $text;

        public function __construct($text)
        {
            $this->text = $text;
        }
    }
}

namespace {
    /** Amounts are text as MySQL's decimals come: `10.00`. */
    const HOST_TABLES = [
        'tblclients' =>
            'id, firstname, lastname, companyname, email, address1, city, postcode, state, country, currency, '
                . 'credit, defaultgateway, taxexempt, tax_id, groupid, status, language, email_verified, billingcid',
        'tblusers' => 'id, first_name, last_name, email, second_factor, email_verified_at, last_login',
        'tblusers_clients' => 'id, auth_user_id, client_id, owner, permissions, last_login, invite_id',
        'tblcurrencies' => 'id, code, prefix, suffix, format, rate, "default"',
        'tblclientgroups' => 'id, groupname, discountpercent, susptermexempt, separateinvoices',
        'tblconfiguration' => 'setting, value',
        'tblhosting' =>
            'id, userid, orderid, packageid, server, regdate, domain, qty, paymentmethod, firstpaymentamount, '
                . 'amount, billingcycle, nextduedate, nextinvoicedate, termination_date, domainstatus, username, '
                . 'password, notes, promoid, promocount, suspendreason, overideautosuspend, overidesuspenduntil, '
                . 'dedicatedip, assignedips, lastupdate',
        'tblproducts' =>
            'id, type, gid, name, tax, paytype, proratabilling, proratadate, servertype, welcomeemail, "order", '
                . 'hidden, retired, configoption1, configoption2, configoption3, configoption4, configoption5, '
                . 'configoption6, configoption7, configoption8, configoption9, configoption10, configoption11, '
                . 'configoption12, configoption13, configoption14, configoption15, configoption16, configoption17, '
                . 'configoption18, configoption19, configoption20, configoption21, configoption22, configoption23, '
                . 'configoption24',
        'tblproductgroups' => 'id, name, hidden, "order"',
        'tblhostingaddons' =>
            'id, hostingid, addonid, userid, name, qty, firstpaymentamount, setupfee, recurring, billingcycle, tax, '
                . 'status, regdate, nextduedate, nextinvoicedate, proratadate',
        'tbladdons' => 'id, name',
        'tbldomains' =>
            'id, userid, domain, type, registrationdate, registrationperiod, firstpaymentamount, recurringamount, '
                . 'status, nextduedate, nextinvoicedate, expirydate, donotrenew, promoid',
        'tblcancelrequests' => 'id, date, relid, reason, type',
        'tblinvoices' =>
            'id, userid, invoicenum, date, duedate, datepaid, subtotal, credit, tax, tax2, total, taxrate, taxrate2, '
                . 'status, paymentmethod, notes',
        'tblinvoiceitems' =>
            'id, invoiceid, userid, type, relid, description, amount, taxed, duedate, paymentmethod, notes',
        'tblaccounts' =>
            'id, userid, currency, gateway, date, description, amountin, fees, amountout, rate, transid, invoiceid, '
                . 'refundid',
        'tblcredit' => 'id, clientid, date, description, amount, relid',
        'tbltax' => 'id, level, name, state, country, taxrate',
        'tblpaymethods' => 'id, userid, gateway_name, payment_type, payment_id, description, deleted_at',
        'tblcreditcards' => 'id, pay_method_id, card_type, last_four, expiry_date, deleted_at',
        'tblpaymentgateways' => 'id, gateway, setting, value, "order"',
        'tblproduct_upgrade_products' => 'id, product_id, upgrade_product_id',
        'tblpricing' =>
            'id, type, currency, relid, msetupfee, monthly, quarterly, semiannually, annually, biennially, triennially',
        'tblproduct_upgrade_products' => 'id, product_id, upgrade_product_id',
        'tblserver_tenants' => 'id, server_id, tenant',
        'tbltenant_stats' => 'id, tenant_id, metric, type, value, measured_at, invoice_id',
        'tblusage_items' => 'id, rel_type, rel_id, module_type, module, metric, included, is_hidden',
        'tblpricing_bracket' => 'id, floor, ceiling, rel_type, rel_id, schema_type',
        'tblorders' => 'id, userid, status, invoiceid, amount',
        'tbladdonmodules' => 'id, module, setting, value',
        'tblservers' =>
            'id, name, type, hostname, ipaddress, port, secure, username, password, accesshash, disabled, active',
        'tbladmins' => 'id, username',
        'tblemailtemplates' => 'id, name, type',
        'tblproductconfigoptions' => 'id, gid, optionname, optiontype',
        'tblproductconfigoptionssub' => 'id, configid, optionname',
        'tblhostingconfigoptions' => 'id, relid, configid, optionid, qty',
    ];
    const OF_STATE = [
        'tblemailtemplates', 'tblproducts', 'tblhosting', 'tblproductconfigoptions', 'tblproductconfigoptionssub',
        'tblhostingconfigoptions', 'tbladmins', 'tblservers'];
    /** What every installation has; more comes by `/test/tables`. */
    const FURNITURE = [
        'tblcurrencies' => [
            ['id' => 1, 'code' => 'EUR', 'prefix' => '', 'suffix' => ' EUR', 'format' => 3, 'rate' => '1.00000',
                'default' => 1],
            ['id' => 2, 'code' => 'USD', 'prefix' => '$', 'suffix' => ' USD', 'format' => 2, 'rate' => '1.20000',
                'default' => 0],
        ],
        'tblclients' =>
            [['id' => 7, 'firstname' => 'Ada', 'lastname' => 'Byron', 'companyname' => '', 'email' => 'ada@example.com',
                'address1' => '1 Engine Road',
            'city' => 'Vienna', 'postcode' => '1010', 'state' => '', 'country' => 'AT', 'currency' => 1,
            'credit' => '0.00', 'taxexempt' => 0, 'tax_id' => '', 'groupid' => 0, 'status' => 'Active',
            'language' => '']],
        'tblusers' =>
            [['id' => 1, 'first_name' => 'Ada', 'last_name' => 'Byron', 'email' => 'ada@example.com',
                'second_factor' => '', 'email_verified_at' => null]],
        'tblusers_clients' => [['id' => 1, 'auth_user_id' => 1, 'client_id' => 7, 'owner' => 1, 'permissions' => '']],
        'tblproductgroups' => [['id' => 1, 'name' => 'Virtual servers', 'hidden' => 0, 'order' => 1]],
    ];

    function database()
    {
        static $pdo = null;
        if ($pdo === null) {
            $pdo = new PDO(
                'sqlite:' . state_dir() . '/whmcs.sqlite', null, null,
                [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_STRINGIFY_FETCHES => true]);
            $pdo->exec('PRAGMA busy_timeout = 20000');
            if (!$pdo->query("SELECT 1 FROM sqlite_master WHERE name = 'host_seen'")->fetch()) {
                build($pdo);
            }
        }
        // change_state() takes the mark away: a query after it sees what it did
        if (!isset($GLOBALS['host_mirrored'])) {
            mirror($pdo);
            $GLOBALS['host_mirrored'] = true;
        }
        return $pdo;
    }

    function build(PDO $pdo)
    {
        $pdo->exec('BEGIN IMMEDIATE');
        foreach (HOST_TABLES as $name => $columns) {
            $pdo->exec(
                'CREATE TABLE IF NOT EXISTS ' . $name . ' ('
                    . preg_replace(
                        ['/\b((?!tax_|trans)\w+id|server|currency)\b/', '/\Aid,/'],
                        ['$1 INTEGER', 'id INTEGER PRIMARY KEY,'], $columns) . ')');
        }
        foreach (
            ['tblhosting' => 'userid', 'tblinvoices' => 'userid', 'tblinvoiceitems' => 'invoiceid',
                'tblaccounts' => 'invoiceid', 'tblhostingaddons' => 'userid',
                'tblcancelrequests' => 'relid'] as $name => $column) {
            $pdo->exec("CREATE INDEX IF NOT EXISTS {$name}_$column ON $name ($column)"); // as WHMCS's tables have
        }
        $pdo->exec('CREATE TABLE IF NOT EXISTS host_seen (mark)');
        keep_rows($pdo, FURNITURE);
        $pdo->exec('COMMIT');
    }

    /** Rows by table; a row whose id is there already takes its place. */
    function keep_rows(PDO $pdo, array $tables)
    {
        foreach ($tables as $name => $rows) {
            foreach ($rows as $row) {
                $columns = '"' . implode('", "', array_keys($row)) . '"';
                $pdo->prepare(
                    "INSERT OR REPLACE INTO $name ($columns) VALUES (" . implode(',', array_fill(0, count($row), '?'))
                        . ')')->execute(array_values($row));
            }
        }
    }

    /**
     * What state.json has of WHMCS's tables, when it has changed since. Of a service the columns that only billing has
     * stay what they are.
     */
    function mirror(PDO $pdo)
    {
        $mark = '';
        foreach (['state.json', 'host.json'] as $file) {
            $path = state_dir() . '/' . $file;
            $mark .= is_file($path) ? md5_file($path) . ' ' : '';
        }
        if ($pdo->query('SELECT mark FROM host_seen')->fetchColumn() === $mark) {
            return;
        }
        $pdo->exec('BEGIN IMMEDIATE');
        foreach (OF_STATE as $name) {
            $known = array_map(function ($c) {
                return trim($c, ' "');
            }, explode(',', HOST_TABLES[$name]));
            if (!in_array($name, ['tblhosting', 'tblproducts'], true)) { // those two have rows that no test ordered
                $pdo->exec('DELETE FROM ' . $name);
            }
            foreach (host_rows($name) as $id => $row) {
                $row = array_intersect_key(['id' => $id] + $row, array_flip($known));
                if ($name === 'tblhosting'
                    && !$pdo->query('SELECT 1 FROM tblhosting WHERE id = ' . (int) $id)->fetch()) {
                    $row += [
                        'regdate' => date('Y-m-d'), 'qty' => 1, 'firstpaymentamount' => '9.00', 'amount' => '9.00',
                        'billingcycle' => 'Monthly', 'nextduedate' => date('Y-m-d', strtotime('+1 month'))];
                }
                if ($name === 'tblproducts') {
                    $row += ['gid' => 1, 'name' => 'Cloud server', 'tax' => 1, 'paytype' => 'recurring'];
                }
                $columns = '"' . implode('", "', array_keys($row)) . '"';
                $set = implode(', ', array_map(function ($c) {
                    return "\"$c\" = excluded.\"$c\"";
                }, array_keys($row)));
                $pdo->prepare(
                    "INSERT INTO $name ($columns) VALUES (" . implode(',', array_fill(0, count($row), '?'))
                        . ") ON CONFLICT (id) DO UPDATE SET $set")->execute(array_values($row));
            }
        }
        $pdo->exec('DELETE FROM host_seen');
        $pdo->prepare('INSERT INTO host_seen VALUES (?)')->execute([$mark]);
        $pdo->exec('COMMIT');
    }

    /** Every statement of a request is written down: `queries.jsonl` has one line for each request that made any. */
    function database_rows($sql, array $bound, $changes = false)
    {
        if (!empty(host()['database_down'])) {
            throw new PDOException('MySQL server has gone away');
        }
        if (!isset($GLOBALS['host_queries'])) {
            $GLOBALS['host_queries'] = [];
            register_shutdown_function(function () {
                file_put_contents(
                    state_dir() . '/queries.jsonl', json_encode([$_SERVER['REQUEST_URI'], $GLOBALS['host_queries']])
                        . "\n", FILE_APPEND | LOCK_EX);
            });
        }
        $GLOBALS['host_queries'][] = $sql;
        $statement = database()->prepare($sql);
        $statement->execute($bound);
        return $changes ? $statement->rowCount() : $statement->fetchAll(PDO::FETCH_OBJ);
    }

    /** `/test/tables`: rows by table; `clear` names tables that are emptied before. */
    function give_tables(array $given)
    {
        $pdo = database();
        $pdo->exec('BEGIN IMMEDIATE');
        foreach ($given['clear'] ?? [] as $name) {
            $pdo->exec('DELETE FROM ' . (isset(HOST_TABLES[$name]) ? $name : 'unknown'));
        }
        unset($given['clear']);
        keep_rows($pdo, $given);
        $pdo->exec('COMMIT');
        return ['result' => 'success'];
    }
}
