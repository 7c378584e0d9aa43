<?php

/**
 * upgrade.php of the client area: what can be changed, the summary (step 2) and the order (step 3). The markup is our
 * own; forms, fields and the order in which elements are opened and closed are those of WHMCS's public themes, since
 * the shim's script depends on them.
 */

function upgrade_page()
{
    $id = (int) ($_REQUEST['id'] ?? 0);
    $service = state()['services'][$id] ?? null;
    if ($service === null || $service['userid'] !== $_SESSION['uid']) {
        header('Location: /clientarea.php', true, 303);
        return;
    }
    $type = ($_REQUEST['type'] ?? '') === 'configoptions' ? 'configoptions' : 'package';
    $wish = ['type' => $type, 'id' => $id]
        + ($type === 'package' ? ['pid' => (int) ($_POST['pid'] ?? 0), 'billingcycle' => 'monthly'] : []);
    $chosen = $type === 'configoptions' ? chosen($service, (array) ($_POST['configoption'] ?? [])) : [];
    $step = $_SERVER['REQUEST_METHOD'] === 'POST' ? (int) ($_POST['step'] ?? 1) : 1;
    if ($step === 2) {
        $upgrades = $type === 'package' ? product_change($service, $wish) : option_changes($service, $chosen);
        frame('Upgrade', summary($wish, $upgrades, $chosen),
            ['filename' => 'upgrade', 'id' => $id, 'type' => $type, 'upgrades' => $upgrades,
                'configoptions' => $chosen]);
    } elseif ($step === 3) {
        frame('Upgrade', upgrade_order($wish, $chosen), ['filename' => 'upgrade', 'id' => $id, 'type' => $type]);
    } else {
        frame('Upgrade', $type === 'package' ? product_choice($wish, $service) : option_choice($wish, $service),
            ['filename' => 'upgrade', 'id' => $id, 'type' => $type]);
    }
}

/**
 * Every option of the shop with the value of now, or the one that was posted: ids of values, numbers of what is
 * counted.
 */
function chosen(array $service, array $posted)
{
    $quantities = [];
    foreach (state()['options'] ?? [] as $cid => $option) {
        $now = $service['chosen'][$cid]
            ?? (in_array($option['optiontype'], [3, 4], true) ? 0 : array_key_first($option['subs']));
        $quantities[$cid] = (int) ($posted[$cid] ?? $now);
    }
    return $quantities;
}

function option_value($cid, $value)
{
    $option = state()['options'][$cid];
    return in_array($option['optiontype'], [3, 4], true) ? (string) $value : $option['subs'][$value];
}

/** The part of `key|Friendly name` that customers read. */
function friendly($text)
{
    $parts = explode('|', $text, 2);
    return end($parts);
}

function product_change(array $service, array $wish)
{
    $products = products();
    return [[
        'oldproductid' => $service['pid'], 'oldproductname' => $products[$service['pid']]['name'] ?? 'Product '
            . $service['pid'],
        'newproductid' => $wish['pid'], 'newproductname' => $products[$wish['pid']]['name'] ?? 'Product '
            . $wish['pid'],
        'newproductbillingcycle' => $wish['billingcycle'], 'price' => '$4.00 USD', 'daysuntilrenewal' => 12,
    ]];
}

function option_changes(array $service, array $chosen)
{
    $changes = [];
    foreach (chosen($service, []) as $cid => $now) {
        if ($chosen[$cid] !== $now) {
            $changes[] = [
                'configname' => friendly(state()['options'][$cid]['optionname']),
                'originalvalue' => friendly(option_value($cid, $now)),
                'newvalue' => friendly(option_value($cid, $chosen[$cid])), 'price' => '$1.00 USD'];
        }
    }
    return $changes;
}

/** Its own address with theme, shade and language as they are; WHMCS keeps these in the session. */
function upgrade_url()
{
    return htmlspecialchars(
        '/upgrade.php?' . http_build_query(array_intersect_key($_GET, array_flip(['theme', 'shade', 'language']))));
}

function hidden(array $values)
{
    $html = '';
    foreach ($values as $name => $value) {
        $html .= '<input type="hidden" name="' . htmlspecialchars($name) . '" value="'
            . htmlspecialchars((string) $value) . '">';
    }
    return $html;
}

function product_choice(array $wish, array $service)
{
    $html = '';
    foreach (products() as $pid => $product) {
        if (!isset($product['name']) || ($product['server'] ?? $service['server'] ?? 1) !== ($service['server'] ?? 1)) {
            continue;
        }
        $html .= '<form method="post" action="' . upgrade_url() . '">' . hidden(['step' => 2, 'pid' => $pid] + $wish)
            . '<p><button type="submit" class="btn btn-primary" data-pid="' . (int) $pid . '">'
            . htmlspecialchars($product['name']) . '</button></p></form>';
    }
    return $html;
}

function option_choice(array $wish, array $service)
{
    $html = '';
    foreach (chosen($service, []) as $cid => $now) {
        $option = state()['options'][$cid];
        $field = '<input class="form-control" type="number" name="configoption[' . (int) $cid . ']" value="' . $now
            . '">';
        if (!in_array($option['optiontype'], [3, 4], true)) {
            $field = '<select class="form-control" name="configoption[' . (int) $cid . ']">';
            foreach ($option['subs'] as $sub => $text) {
                $field .= '<option value="' . (int) $sub . '"' . ((int) $sub === $now ? ' selected' : '') . '>'
                    . htmlspecialchars(friendly($text)) . '</option>';
            }
            $field .= '</select>';
        }
        $html .= '<div class="form-group"><label>' . htmlspecialchars(friendly($option['optionname'])) . $field
            . '</label></div>';
    }
    return '<form method="post" action="' . upgrade_url() . '">' . hidden(['step' => 2] + $wish) . $html
        . '<button type="submit" class="btn btn-primary">Show the price</button></form>';
}

/** The order's form is opened in a column and closed after it: its button belongs to it without standing in it. */
function summary(array $wish, array $upgrades, array $chosen)
{
    $six = theme() === 'six';
    $rows = '';
    foreach ($upgrades as $u) {
        $rows .= '<tr><td>'
            . ($wish['type'] === 'package'
                ? hidden(['pid' => $u['newproductid'], 'billingcycle' => $u['newproductbillingcycle']])
            . htmlspecialchars($u['oldproductname'] . ' to ' . $u['newproductname'])
            : htmlspecialchars($u['configname'] . ': ' . $u['originalvalue'] . ' to ' . $u['newvalue']))
            . '</td><td class="text-center">' . $u['price'] . '</td></tr>';
    }
    $options = [];
    foreach ($chosen as $cid => $value) {
        $options['configoption[' . $cid . ']'] = $value;
    }
    $promo = $six
        ? '<span class="input-group-btn"><input type="submit" value="Use code" class="btn btn-success"></span>'
        : '<div class="input-group-append"><button type="submit" class="btn btn-success">Use code</button></div>';
    $button = $six ? '<input type="submit" value="Place the order" class="btn btn-primary">'
        : '<button type="submit" class="btn btn-primary" id="btnOrderContinue">Place the order <i class="fas '
        . 'fa-arrow-right"></i></button>';
    return '<div class="alert alert-info text-center">Changed is: <strong>service ' . $wish['id'] . '</strong></div>'
        . '<table class="table table-striped"><thead><tr><th width="60%">Change</th><th width="40%" '
        . 'class="text-center">Price</th></tr></thead><tbody>' . $rows . '</tbody></table>'
        . '<div class="row"><div class="col-sm-6"><form method="post" action="' . upgrade_url() . '" role="form">'
        . hidden(['step' => 2] + $wish + $options)
        . '<h2 style="font-size:1.2em">Code</h2><div class="input-group"><input class="form-control" type="text" '
        . 'name="promocode" placeholder="Code" aria-label="Code">' . $promo . '</div></form>'
        . '</div><div class="col-sm-6"><form method="post" action="' . upgrade_url() . '">'
        . hidden(['step' => 3] + $wish + $options)
        . '<h2 style="font-size:1.2em">Paid by</h2><div class="form-group"><select name="paymentmethod" '
        . 'id="inputPaymentMethod" class="form-control" aria-label="Paid by"><option '
        . 'value="banktransfer">Bank</option></select></div>'
        . '</div></div><div class="form-group text-center">' . $button . '</div></form>';
}

/** As the one of the tests' own calls, with what the form says; options have no validation hook. */
function upgrade_order(array $wish, array $chosen)
{
    load_module();
    if ($wish['type'] === 'package') {
        $done = upgrade($wish['id'], $wish['pid'], products()[$wish['pid']]);
    } else {
        change_state(function (&$state) use ($wish, $chosen) {
            $state['services'][$wish['id']]['chosen'] = $chosen;
        });
        $done = ['result' => run_module($wish['id'], 'ChangePackage')];
    }
    $wrong = $done['errors'] ?? ($done['result'] === 'success' ? [] : [$done['result']]);
    return $wrong === [] ? '<div class="alert alert-success">Ordered.</div>'
        : '<div class="alert alert-danger"><ul><li>' . implode('</li><li>', array_map('htmlspecialchars', $wrong))
        . '</li></ul></div>';
}
