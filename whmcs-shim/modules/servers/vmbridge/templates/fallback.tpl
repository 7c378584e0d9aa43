<div class="alert alert-warning" style="text-align:start">
  <strong>{$vmbridgeDown|escape}</strong>
  <p>{$vmbridgeDownMore|escape}{if $vmbridgeReason} ({$vmbridgeReason|escape}){/if}</p>
  {if $vmbridgeDomain}<p>{$vmbridgeServer|escape}: {$vmbridgeDomain|escape}
    {if $dedicatedip}&middot; {$dedicatedip|escape}{/if}</p>{/if}
</div>
