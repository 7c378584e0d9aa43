{$vmbridgeHtml nofilter}
