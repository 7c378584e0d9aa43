<div class="alert alert-warning" style="text-align:left">
  <strong>Your server's page cannot be shown just now.</strong>
  <p>Your server itself is not affected by this. Please try again in a few minutes{if $vmbridgeReason} ({$vmbridgeReason|escape}){/if}.</p>
  {if $vmbridgeDomain}<p>Server: {$vmbridgeDomain|escape}{if $dedicatedip} &middot; {$dedicatedip|escape}{/if}</p>{/if}
</div>
