<?php

/** The client's product page in a Bootstrap 4 and a Bootstrap 3 frame of our own, and a small admin page. */

/** twenty-one, nexus, six, or `other`: a theme that is not WHMCS's. */
function theme()
{
    $asked = $_GET['theme'] ?? $_COOKIE['theme'] ?? '';
    return in_array($asked, [...THEMES, 'other'], true) ? $asked : 'twenty-one';
}

function smarty()
{
    foreach (['/usr/share/php/smarty4/Smarty.class.php', '/usr/share/php/smarty3/Smarty.class.php'] as $file) {
        if (is_file($file)) {
            restore_error_handler(); // the library's own deprecations are not ours
            error_reporting(E_ALL & ~E_DEPRECATED);
            require_once $file;
            break;
        }
    }
    $smarty = new Smarty();
    $smarty->setCompileDir(state_dir() . '/templates_c');
    $smarty->muteUndefinedOrNullWarnings();
    $smarty->setTemplateDir(__DIR__ . '/templates');
    $smarty->assign('template', theme());
    lang_plugins($smarty);
    $GLOBALS['smarty'] = $smarty;
    return $smarty;
}

function rendered(Smarty $smarty, $template, array $vars)
{
    $smarty->assign($vars);
    return $smarty->fetch(__DIR__ . '/../../whmcs-shim/modules/servers/vmbridge/' . $template);
}

function client_area()
{
    $id = (int) asked('id');
    if (asked('action') === 'addfunds') {
        add_funds();
        return;
    }
    if (asked('action') === '' && addon_active()) {
        if (isset($_GET['theme'])) {
            setcookie('theme', theme());
        }
        smarty();
        home_page();
        return;
    }
    $state = state();
    if (asked('action') !== 'productdetails' || !isset($state['services'][$id])
        || $state['services'][$id]['userid'] !== $_SESSION['uid']) {
        $links = '';
        foreach (array_keys($state['services']) as $known) {
            $links .= '<li><a href="/clientarea.php?action=productdetails&amp;id=' . (int) $known . '">Service '
                . (int) $known . '</a></li>';
        }
        $name = $id ? other_page($id) : '';
        http_response_code($id && $name === '' ? 404 : 200);
        frame($name ?: 'Services', $name === '' ? '<ul>' . $links . '</ul>' : '<h1>' . $name . '</h1>');
        return;
    }
    if (isset($_GET['theme'])) {
        setcookie('theme', theme());
    }
    $smarty = smarty();
    load_module();
    $message = '';
    if (asked('modop') === 'custom') {
        $message = custom($id, asked('a'), $smarty);
        if ($message === null) {
            return;
        }
    }
    $answer = vmbridge_ClientArea(params($id));
    $title = page_title('Manage Product');
    if (real_theme() !== '') {
        real_page($id, $answer, $message, $smarty, $title);
        return;
    }
    $vars = product_vars($id, $state['services'][$id]);
    if (isset($answer['tabOverviewReplacementTemplate'])) {
        frame($title, $message
            . rendered($smarty, $answer['tabOverviewReplacementTemplate'], $answer['templateVariables'] + $vars));
        return;
    }
    $html = isset($answer['tabOverviewModuleOutputTemplate'])
        ? rendered($smarty, $answer['tabOverviewModuleOutputTemplate'], $answer['templateVariables'] + $vars) : '';
    frame($title, $message . product_card($vars)
        . with_tabs($id, '<div class="text-center module-client-area">' . $html . '</div>'));
}

/** The client's own service or domain that is no module's of ours: its name, printed as WHMCS keeps it. */
function other_page($id)
{
    $kinds = [
        'productdetails' => ['tblhosting', "CASE WHEN domain = '' THEN 'Service ' || id ELSE domain END"],
        'domaindetails' => ['tbldomains', 'domain']];
    if (!isset($kinds[asked('action')])) {
        return '';
    }
    list($table, $name) = $kinds[asked('action')];
    return (string) database()->query(
        "SELECT $name FROM $table WHERE id = " . (int) $id . ' AND userid = ' . (int) login()['client'])->fetchColumn();
}

/** The page's title as its template gets it: WHMCS's own, or what a hook says after the module was asked. */
function page_title($own)
{
    load_hooks();
    return (string) (
        run_hooks('ClientAreaPageProductDetails', ['filename' => 'clientarea', 'pagetitle' => $own])['pagetitle']
            ?? $own);
}

/** What WHMCS prints above a module's output. */
function product_card(array $vars)
{
    return '<div class="card" style="height:400px"><div class="card-body"><h3>' . $vars['product'] . '</h3>'
        . $vars['recurringamount'] . '</div></div>';
}

/** The same in one of WHMCS's own themes. */
function real_page($id, array $answer, $message, Smarty $smarty, $title)
{
    $service = state()['services'][$id];
    $vars = product_vars($id, $service);
    $of = [];
    foreach (
        ['tabOverviewModuleOutputTemplate' => 'moduleclientarea',
            'tabOverviewReplacementTemplate' => 'tplOverviewTabOutput'] as $key => $variable) {
        if (isset($answer[$key])) {
            $of[$variable] = rendered($smarty, $answer[$key], $answer['templateVariables'] + $vars);
        }
    }
    if ($message !== '') {
        $of['modulecustombuttonresult'] = strpos($message, 'alert-success') ? 'success' : strip_tags($message);
    }
    load_hooks();
    theme_product(real_theme(), $id, $service, $of, vmbridge_ClientAreaCustomButtonArray(), $title);
}

/** modop=custom: null when a page was printed, else the banner. */
function custom($id, $suffix, Smarty $smarty)
{
    $allowed = array_merge(array_values(vmbridge_ClientAreaCustomButtonArray()), vmbridge_ClientAreaAllowedFunctions());
    if (!in_array($suffix, $allowed, true)) {
        return '<div class="alert alert-danger">Access Denied</div>';
    }
    if ($_SERVER['REQUEST_METHOD'] === 'POST' && !hash_equals(generate_token(), asked('token'))) {
        http_response_code(403);
        return '<div class="alert alert-danger">Invalid token</div>';
    }
    $result = call_user_func('vmbridge_' . $suffix, params($id));
    if (is_array($result)) {
        $html = rendered($smarty, $result['templatefile'] . '.tpl', $result['vars']);
        if (real_theme() !== '') {
            theme_answer(real_theme(), $id, $html, vmbridge_ClientAreaCustomButtonArray(), page_title('Server'));
        } else {
            frame(page_title('Server'), $html);
        }
        return null;
    }
    return $result === 'success' ? '<div class="alert alert-success">Done.</div>'
        : '<div class="alert alert-danger">' . htmlspecialchars($result) . '</div>';
}

function admin_page()
{
    $_SESSION['adminid'] = 1;
    $id = (int) asked('id');
    load_module();
    $message = '';
    $suffix = is_string($_POST['a'] ?? '') ? $_POST['a'] ?? '' : '';
    if (in_array($suffix, vmbridge_AdminCustomButtonArray(), true)) {
        $message = htmlspecialchars((string) call_user_func('vmbridge_' . $suffix, params($id)));
    } elseif (in_array($suffix, ['CreateAccount', 'SuspendAccount', 'UnsuspendAccount', 'TerminateAccount'], true)) {
        $message = htmlspecialchars(run_module($id, $suffix));
    }
    unset($_SESSION['adminid']);
    $buttons = '';
    $all = ['Create' => 'CreateAccount', 'Suspend' => 'SuspendAccount', 'Unsuspend' => 'UnsuspendAccount',
        'Terminate' => 'TerminateAccount'];
    foreach ($all + vmbridge_AdminCustomButtonArray() as $label => $name) {
        $buttons .= '<button class="btn btn-default btn-light" name="a" value="' . $name . '">' . $label . '</button> ';
    }
    $fields = '';
    foreach (vmbridge_AdminServicesTabFields(params($id)) as $label => $html) {
        $fields .= '<tr><td class="fieldlabel">' . htmlspecialchars($label) . '</td><td class="fieldarea">' . $html
            . '</td></tr>';
    }
    admin_frame('Service ' . $id, ($message ? '<div class="alert alert-info">' . $message . '</div>' : '')
        . '<form method="post" action="/admin/service.php?id=' . $id . '"><p>' . $buttons . '</p><table class="form">'
        . $fields . '</table></form>');
}

/** addonmodules.php: output is buffered as WHMCS does. */
function addon_page()
{
    $_SESSION['adminid'] = ($_GET['as'] ?? '') === 'nobody' ? 0 : 1;
    if (isset($_GET['both'])) {
        load_module(); // WHMCS may have loaded the server module in the same request
    }
    require_once __DIR__ . '/../../whmcs-shim/modules/addons/vmbridge/vmbridge.php';
    ob_start();
    vmbridge_output(
        ['modulelink' => 'addonmodules.php?module=vmbridge', 'version' => vmbridge_config()['version'], '_lang' => []]);
    $html = ob_get_clean();
    unset($_SESSION['adminid']);
    admin_frame('vmbridge', $html);
}

/** As wide and as dense as WHMCS's admin area (Bootstrap 3); it follows the system's dark side only when asked to. */
function admin_frame($title, $html)
{
    $css = is_file(__DIR__ . '/../../node_modules/bootstrap3/dist/css/bootstrap.min.css')
        ? '<link rel="stylesheet" href="/assets/bootstrap3/dist/css/bootstrap.min.css">' : '';
    $dark = isset($_GET['dark'])
        ? ':root{color-scheme:dark}body{background:#15181c!important;color:#e6e8ea!important}'
            . '.contentarea{background:#1e2228!important}'
        . 'table.form td.fieldlabel,table.form td.fieldarea{background:#1e2228!important}' : '';
    echo '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        . 'content="width=device-width, initial-scale=1">'
        . '<link rel="icon" href="data:,"><title>' . htmlspecialchars($title) . '</title>' . $css
        . '<style>body{background:#f0f2f4;margin:0;font-family:"Open '
        . 'Sans",system-ui,sans-serif;font-size:13px;color:#333}'
        . '.contentarea{background:#fff;margin:16px;padding:16px 20px;border-radius:4px}.contentarea '
        . 'h1{font-size:22px;margin:0 0 16px;font-weight:400}'
        . 'table.form{width:100%}table.form td.fieldlabel{width:110px;text-align:right;padding:6px '
        . '10px;background:#f5f5f5;vertical-align:top}table.form td.fieldarea{padding:6px 10px}'
        . $dark . '</style></head><body><main class="contentarea"><h1>' . htmlspecialchars($title) . '</h1>' . $html
        . '</main></body></html>';
}

/** A page of the client area; `$vars` are its template's variables, which the footer's hooks get. */
function frame($title, $html, array $vars = [], $sides = true)
{
    load_hooks();
    $vars += [
        'filename' => 'clientarea', 'template' => theme(), 'language' => $_GET['language'] ?? 'english',
        'loggedin' => true];
    $footer = implode("\n", run_hooks('ClientAreaFooterOutput', $vars));
    $styles = implode("\n", run_hooks('ClientAreaHeadOutput', $vars));
    $six = theme() === 'six';
    $css = $six ? 'bootstrap3/dist/css/bootstrap.min.css' : 'bootstrap4/dist/css/bootstrap.min.css';
    $links = is_file(__DIR__ . '/../../node_modules/' . $css) ? '<link rel="stylesheet" href="/assets/' . $css . '">'
        . '<link rel="stylesheet" href="/assets/@fortawesome/fontawesome-free/css/all.min.css">' : '';
    // a theme with a dark side follows the system; `shade=light` has none, `shade=dark` is dark by its own switch
    $dark = 'body{background:#15181c;color:#e6e8ea}.card,.panel{background:#1e2228;border-color:#343a42;color:inherit}'
        . 'a{color:#79b8ff}'
        . '.table,.table-striped>tbody>tr:nth-of-type(odd){color:inherit;background:none}';
    $shade = $_GET['shade'] ?? '';
    $dark = $shade === 'light' ? '' : ($shade === 'dark' ? $dark : '@media (prefers-color-scheme:dark){' . $dark . '}');
    // the measures of Twenty-One (Bootstrap 4) and Six (Bootstrap 3): header, container, sidebar and where the content
    // begins
    list($top, $phone, $side, $main) = $six
        ? [235, 268, 'col-md-3 pull-md-left sidebar', 'col-md-9 pull-md-right main-content']
        : [188, 187, 'col-lg-4 col-xl-3', 'col-lg-8 col-xl-9 primary-content'];
    $tabs = '<script '
        . 'data-host>document.querySelectorAll("[data-toggle=tab]").forEach(a=>a.addEventListener("click",e=>{'
        . 'e.preventDefault();const p=document.querySelector(a.getAttribute("href"));'
        . 'a.closest("ul").querySelectorAll(".active").forEach(x=>x.classList.remove("active"));'
        . 'p.parentNode.querySelectorAll(":scope>.active").forEach(x=>x.classList.remove("active"));'
        . 'a.classList.add("active");a.parentNode.classList.add("active");p.classList.add("active")}))</script>';
    $menu = '';
    foreach (
        ['Overview' => ['Information'],
            'Actions' =>
                ['Start', 'Stop', 'Restart', 'Change Password', 'Upgrade/Downgrade',
                    'Request Cancellation']] as $head => $rows) {
        $menu .= '<div class="card panel panel-default mb-3"><div class="card-header panel-heading">' . $head
            . '</div><div class="list-group list-group-flush">'
            . implode('', array_map(function ($row) {
                return '<a class="list-group-item" href="#side">' . $row . '</a>';
            }, $rows)) . '</div></div>';
    }
    echo '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" '
        . 'content="width=device-width, initial-scale=1">'
        . '<link rel="icon" href="data:,"><title>' . htmlspecialchars($title) . '</title>' . $links
        . '<style>body{background:#f0f0f0;margin:0;font-family:"Open Sans",system-ui,sans-serif;font-size:'
        . ($six ? 14 : 16) . 'px}'
        . 'header.top{height:' . ($phone - 20)
        . 'px;padding:20px;background:#fff;font-size:20px;overflow:hidden}@media(min-width:992px){header.top{height:'
        . ($top - 20) . 'px}}'
        . '#main-body{padding:20px 0 40px}.card,.panel{background:#fff;border:1px solid #ddd;border-radius:4px}'
        . ($six ? '.sidebar{margin-top:16px}@media(min-width:992px){.pull-md-right{float:right}.sidebar{margin:0}}'
            : '')
        . $dark . '</style>' . $styles . '</head><body class="' . ($six ? 'six' : 'twenty-one')
        . '"><header class="top">Example Hosting</header><section id="main-body"><div class="container"><div '
        . 'class="row">'
        . (!$sides ? '' : '<div class="' . $side . '">' . ($six ? $menu : '<div class="sidebar">' . $menu . '</div>')
            . '</div>')
        . '<div class="' . ($sides ? $main : 'col-12 col-xs-12')
        . '"><h1 class="vmbridge-host-title" style="position:absolute;width:1px;height:1px;overflow:hidden">'
        . htmlspecialchars($title) . '</h1>' . $html . '</div></div></div></section>'
        . $tabs . $footer . '</body></html>';
}
