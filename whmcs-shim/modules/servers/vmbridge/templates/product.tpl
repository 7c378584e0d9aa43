{* The product's page in WHMCS's own themes: the server first, then what WHMCS itself says of the product, in its own
   variables. *}
<style>
.vmbridge-product .vmb-product { display: flex; flex-wrap: wrap; gap: 4px 24px; align-items: baseline;
  margin: 24px 0 16px; padding: 12px 16px; border: 1px solid rgba(128,128,128,.28); border-radius: 4px;
  text-align: start; font-size: .9em }
.vmbridge-product .vmb-product span:last-child { margin-inline-start: auto }
.vmbridge-product .vmb-product a { display: inline-block; padding: 0; margin: 0 }
.vmbridge-product .vmb-product a + a { margin-inline-start: 16px }
@media (max-width: 767px) { .vmbridge-product .vmb-product span:last-child { margin-inline-start: 0 } }
.vmbridge-product dl.vmb-told { margin: 0; padding: 16px; text-align: start }
.vmbridge-product dl.vmb-told > div { display: flex; flex-wrap: wrap; gap: 4px 16px; padding: 4px 0 }
.vmbridge-product dl.vmb-told dt { flex: 0 1 14em; font-weight: 600 }
.vmbridge-product dl.vmb-told dd { flex: 1 1 10em; min-width: 0; margin: 0; overflow-wrap: anywhere }
.vmbridge-product .vmb-metrics { padding: 16px; overflow-x: auto; text-align: start }
</style>
{$vmbridgeFirst nofilter}
<div class="vmbridge-product vmbridge-first">
{$vmbridgeHtml nofilter}
{foreach $hookOutput as $output}
  <div>{$output}</div>
{/foreach}
  <div class="vmb-product">
    <span><strong>{$product}</strong>{if $groupname} &middot; {$groupname}{/if} &middot; {$status}</span>
    {if $suspendreason}<span>{lang key='suspendreason'}: {$suspendreason}</span>{/if}
    <span>{$recurringamount} {$billingcycle}</span>
    <span>{lang key='clientareahostingnextduedate'}: {$nextduedate}</span>
    <span>{lang key='orderpaymentmethod'}: {$paymentmethod}</span>
    <span>{if $packagesupgrade}<a href="upgrade.php?type=package&amp;id={$id}">{lang key='upgrade'}</a>{/if}
    {if $showcancelbutton && !$pendingcancellation}<a
      href="clientarea.php?action=cancel&amp;id={$id}">{lang key='clientareacancelrequestbutton'}</a>{elseif
      $pendingcancellation}{lang key='cancellationrequested'}{/if}</span>
  </div>
{if $vmbridgeTabs && ($configurableoptions || $metricStats || $customfields || $lastupdate)}
{assign var=first value=true}
  <ul class="nav nav-tabs">
  {foreach ['configoptions' => $configurableoptions, 'metrics' => $metricStats, 'additionalinfo' => $customfields,
    'resourceusage' => $lastupdate] as $name => $there}{if $there}
    <li class="nav-item{if $first} active{/if}"><a
      class="nav-link{if $first} active{/if}" href="#vmb-{$name}" data-toggle="tab">{if $name == 'configoptions'}{lang
      key='orderconfigpackage'}{elseif $name == 'metrics'}{lang key='metrics.title'}{elseif
      $name == 'additionalinfo'}{lang key='additionalInfo'}{else}{lang key='resourceUsage'}{/if}</a></li>
  {assign var=first value=false}{/if}{/foreach}
  </ul>
  <div class="tab-content">
{assign var=first value=true}
  {if $configurableoptions}<div class="tab-pane active" id="vmb-configoptions"><dl class="vmb-told">
    {foreach $configurableoptions as $option}<div><dt>{$option.optionname}</dt><dd>{if
      $option.optiontype eq 3}{if $option.selectedqty}{lang key='yes'}{else}{lang key='no'}{/if}{elseif
      $option.optiontype eq 4}{$option.selectedqty} x {$option.selectedoption}{else}{$option.selectedoption}{/if}</dd>
    </div>
    {/foreach}
  </dl></div>{assign var=first value=false}{/if}
  {if $metricStats}<div class="tab-pane{if $first} active{/if}" id="vmb-metrics"><div
    class="vmb-metrics">{include file="$template/clientareaproductusagebilling.tpl"}</div></div>
  {assign var=first value=false}{/if}
  {if $customfields}<div class="tab-pane{if $first} active{/if}" id="vmb-additionalinfo"><dl class="vmb-told">
    {foreach $customfields as $field}<div><dt>{$field.name}</dt><dd>{$field.value}</dd></div>{/foreach}
  </dl></div>{assign var=first value=false}{/if}
  {if $lastupdate}<div class="tab-pane{if $first} active{/if}" id="vmb-resourceusage"><dl class="vmb-told">
    <div><dt>{lang key='diskSpace'}</dt><dd>{$diskusage} MB / {$disklimit} MB</dd></div>
    <div><dt>{lang key='bandwidth'}</dt><dd>{$bwusage} MB / {$bwlimit} MB</dd></div>
    <div><dt>{lang key='clientarealastupdated'}</dt><dd>{$lastupdate}</dd></div>
  </dl></div>{/if}
  </div>
{/if}
</div>
<span class="vmbridge-read"></span>
