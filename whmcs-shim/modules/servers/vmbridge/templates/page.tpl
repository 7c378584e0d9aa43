{$vmbridgeFirst nofilter}
<div class="vmbridge-answer vmbridge-first">
{$vmbridgeHtml nofilter}
</div>
<span class="vmbridge-read"></span>
