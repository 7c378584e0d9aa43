<table class="table"><thead><tr><th>Metric</th><th>Current Usage</th>
  <th>Pricing</th><th>Last Update</th></tr></thead><tbody>
{foreach $metricStats as $metric}<tr data-metric="{$metric.systemName}"><th scope="row">{$metric.displayName}</th>
  <td>{$metric.currentValue}</td><td>{$metric.price}</td><td>{$metric.lastUpdated}</td></tr>
{/foreach}</tbody></table>
