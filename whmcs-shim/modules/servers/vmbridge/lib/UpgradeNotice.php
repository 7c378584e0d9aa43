<?php

namespace WHMCS\Module\Server\Vmbridge;

/**
 * What an upgrade does to the customer's server, said on WHMCS's summary of it, above the button that orders it.
 * WHMCS has no place for it there: a hook prints it at the page's end, and its script moves it.
 */
class UpgradeNotice
{
    /**
     * The order is the form that posts step 3. The themes close elements between it and its button, so the button is
     * not inside the form but belongs to it all the same: `elements` knows it, a search below the form does not.
     */
    const SCRIPT = <<<'JS'
(function () {
  var notice = document.getElementById('vmbridge-upgrade'), forms = document.forms;
  for (var i = 0; i < forms.length; i++) {
    var fields = forms[i].elements, order = false, buttons = [];
    for (var k = 0; k < fields.length; k++) {
      order = order || (fields[k].name === 'step' && fields[k].value === '3');
      if (fields[k].type === 'submit') { buttons.push(fields[k]); }
    }
    if (order && buttons.length) {
      buttons[0].parentNode.insertBefore(notice, buttons[0]);
      buttons.forEach(function (button) {
        button.setAttribute('aria-describedby', notice.id);
        if (notice.hasAttribute('data-refused')) { button.disabled = true; }
      });
    }
  }
})();
JS;

    /**
     * For the variables of the summary page, which WHMCS makes of the client's own services only; empty where there is
     * nothing to say, or it is not a server of ours.
     */
    public static function of(array $vars)
    {
        $type = Module::value($vars, 'type');
        $chosen = Module::value($vars, 'configoptions');
        $product = $type === 'package' ? self::product((array) $vars['upgrades']) : 0;
        if ($type !== 'configoptions' && $product === 0) {
            return '';
        }
        $params = Records::forUpgrade(
            (int) Module::value($vars, 'id'), $product, $type === 'configoptions' && is_array($chosen) ? $chosen : []);
        if ($params === null) {
            return '';
        }
        $params['clientsdetails'] = ['language' => (string) Module::value($vars, 'language')];
        // staff who look on as the client read what the client reads
        return self::html(Module::preview($params, ['kind' => 'client', 'id' => $params['userid'], 'name' => ''], ''));
    }

    private static function product(array $upgrades)
    {
        foreach ($upgrades as $upgrade) {
            return (int) Module::value($upgrade, 'newproductid');
        }
        return 0;
    }

    private static function html(array $reply)
    {
        $refused = Module::sentences($reply, 'refused');
        $said = $refused !== [] ? $refused : Module::sentences($reply, 'notices');
        if ($said === []) {
            return '';
        }
        $escape = function ($text) {
            return htmlspecialchars((string) $text, ENT_QUOTES, 'UTF-8');
        };
        $kind = $refused !== [] ? 'class="alert alert-danger" role="alert" data-refused'
            : 'class="alert alert-warning" role="status"';
        return '<div id="vmbridge-upgrade" ' . $kind . ' dir="'
            . (Module::value($reply, 'direction') === 'rtl' ? 'rtl' : 'ltr') . '"'
            . ' style="text-align:start;overflow-wrap:anywhere"><strong>' . $escape(Module::value($reply, 'headline'))
            . '</strong>'
            . '<ul style="margin:.25em 0 0;padding-inline-start:1.25em"><li>'
            . implode('</li><li>', array_map($escape, $said)) . '</li></ul></div>'
            . '<script>' . self::SCRIPT . '</script>';
    }
}
