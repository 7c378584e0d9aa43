{* On a phone the server comes before WHMCS's own menus, as on its page *}
<style>
@media (max-width: 991px) {
  .row:has(> .primary-content .vmbridge-answer) > :first-child:not(.primary-content) { order: 1 }
  .row:has(> .main-content .vmbridge-answer) { display: flex; flex-direction: column }
  .row:has(> .main-content .vmbridge-answer) > .main-content { order: -1 } }
</style>
<div class="vmbridge-answer">
{$vmbridgeHtml nofilter}
</div>
