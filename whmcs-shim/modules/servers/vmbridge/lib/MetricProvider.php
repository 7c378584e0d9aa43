<?php

namespace WHMCS\Module\Server\Vmbridge;

use WHMCS\UsageBilling\Contracts\Metrics\MetricInterface;
use WHMCS\UsageBilling\Contracts\Metrics\ProviderInterface;
use WHMCS\UsageBilling\Metrics\Metric;
use WHMCS\UsageBilling\Metrics\Units\GigaBytes;
use WHMCS\UsageBilling\Metrics\Units\WholeNumber;
use WHMCS\UsageBilling\Metrics\Usage as Amount;

if (!interface_exists(ProviderInterface::class)) {
    return; // asked for directly, or a WHMCS without usage billing: there is nothing to declare
}

/**
 * WHMCS's usage billing: raw usage by the tenant key, which is the service's id. Names, types and units are for ever:
 * WHMCS keeps prices and records by them.
 */
class MetricProvider implements ProviderInterface
{
    private $params;

    public function __construct(array $params)
    {
        $this->params = $params;
    }

    /** The same list for every server; asks nobody. */
    public function metrics()
    {
        $addresses = new WholeNumber('Addresses', 'Address', 'Addresses');
        $metrics = [];
        foreach ([
            ['floating_ipv4', 'Floating IPv4 addresses', $addresses],
            ['floating_ipv6', 'Floating IPv6 networks', new WholeNumber('Networks', 'Network', 'Networks')],
            ['ipv4', 'IPv4 addresses', $addresses], ['ipv6', 'IPv6 addresses', $addresses],
            ['snapshots', 'Snapshots', new WholeNumber('Snapshots', 'Snapshot', 'Snapshots')],
        ] as list($name, $title, $unit)) {
            $metrics[$name] = new Metric($name, $title, MetricInterface::TYPE_SNAPSHOT, $unit);
        }
        foreach ([
            'bandwidth_in' => 'Incoming traffic', 'bandwidth_out' => 'Outgoing traffic',
            'bandwidth_total' => 'Traffic in and out',
            'snapshot_gb' => 'Snapshot storage (GB-months)', 'backup_gb' => 'Backup storage (GB-months)',
        ] as $name => $title) {
            $metrics[$name] = new Metric($name, $title, MetricInterface::TYPE_PERIOD_MONTH, new GigaBytes());
        }
        return $metrics;
    }

    /** Every service of the server, in one call. */
    public function usage()
    {
        list($services, $month) = Usage::read($this->params, true);
        $usage = [];
        foreach ($services as $id => $used) {
            $usage[$id] = $this->of($used, $month);
        }
        return $usage;
    }

    public function tenantUsage($tenant)
    {
        list($services, $month) = Usage::read($this->params, true, (int) $tenant);
        return isset($services[(int) $tenant]) ? $this->of($services[(int) $tenant], $month) : [];
    }

    /**
     * Counts are ours and always current; of the month's sums only what is current, so that nothing old is billed as
     * new.
     */
    private function of(array $used, array $month)
    {
        $metrics = [];
        foreach ($this->metrics() as $name => $metric) {
            if ($metric->type() === MetricInterface::TYPE_SNAPSHOT) {
                $metrics[$name] = $metric->withUsage(new Amount($used[$name], time()));
            } elseif (empty($used['stale'])) {
                $metrics[$name] = $metric->withUsage(
                    new Amount($used[$name], (int) $used['collected_at'], (int) $month['start'], (int) $month['end']));
            }
        }
        return $metrics;
    }
}
