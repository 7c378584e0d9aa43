{$vmbridgeFirst nofilter}
<form class="vmbridge-first" method="post" action="{$vmbridgeUrl|escape}">
  <input type="hidden" name="token" value="{$vmbridgeToken|escape}">
  <input type="hidden" name="id" value="{$vmbridgeService|escape}">
  <input type="hidden" name="modop" value="custom">
  <input type="hidden" name="a" value="{$vmbridgeVerb|escape}">
  <p>{$vmbridgeQuestion|escape}</p>
  <button type="submit" class="btn btn-primary">{$vmbridgeLabel|escape}</button>
  <a class="btn btn-default btn-light" href="{$vmbridgeUrl|escape}">{$vmbridgeBack|escape}</a>
</form>
<span class="vmbridge-read"></span>
