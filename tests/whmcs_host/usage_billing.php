<?php

/**
 * WHMCS's usage billing as far as a module can tell: the classes a provider uses, the collection by cron, and the tabs
 * of the product page.
 */

namespace WHMCS\UsageBilling\Contracts\Metrics {
    interface MetricInterface
    {
        const TYPE_SNAPSHOT = 'snapshot';
        const TYPE_PERIOD_DAY = 'period-day';
        const TYPE_PERIOD_MONTH = 'period-month';

        public function usage();

        public function withUsage(?UsageInterface $usage = null);

        public function units();

        public function systemName();

        public function displayName();

        public function type();
    }

    interface ProviderInterface
    {
        public function metrics();

        public function usage();

        public function tenantUsage($tenant);
    }

    interface UsageInterface
    {
        public function collectedAt();

        public function startAt();

        public function endAt();

        public function value();
    }

    interface UnitInterface
    {
        public function name();

        public function suffix();

        public function perUnitName($value = 0);
    }
}

namespace WHMCS\UsageBilling\Metrics\Units {
    use WHMCS\UsageBilling\Contracts\Metrics\UnitInterface;

    abstract class AbstractUnit implements UnitInterface
    {
        private $names;
        private $suffix;

        public function __construct(
            $name, $singlePerUnitName = null, $pluralPerUnitName = null, $prefix = null, $suffix = null)
        {
            $this->names = [$name, $singlePerUnitName ?? $name, $pluralPerUnitName ?? $name];
            $this->suffix = (string) $suffix;
        }

        public function name()
        {
            return $this->names[0];
        }

        public function suffix()
        {
            return $this->suffix;
        }

        public function perUnitName($value = 0)
        {
            return $this->names[(float) $value === 1.0 ? 1 : 2];
        }

        public function decorate($value)
        {
            return $this->formatForType($value) . ' '
                . ($this->suffix === '' ? $this->perUnitName($value) : $this->suffix);
        }
    }

    class WholeNumber extends AbstractUnit
    {
        public function formatForType($value)
        {
            return (string) (int) $value;
        }
    }

    class FloatingPoint extends AbstractUnit
    {
        public function formatForType($value)
        {
            return number_format($value, 2, '.', '');
        }
    }

    class Bytes extends FloatingPoint
    {
        public function __construct(
            $name = 'Bytes', $singlePerUnitName = 'Byte', $pluralPerUnitName = 'Bytes', $prefix = null, $suffix = 'B')
        {
            parent::__construct($name, $singlePerUnitName, $pluralPerUnitName, $prefix, $suffix);
        }
    }

    class GigaBytes extends Bytes
    {
        public function __construct(
            $name = 'Gigabytes', $singlePerUnitName = 'Gigabyte', $pluralPerUnitName = 'Gigabytes', $prefix = null,
            $suffix = 'GB')
        {
            parent::__construct($name, $singlePerUnitName, $pluralPerUnitName, $prefix, $suffix);
        }
    }
}

namespace WHMCS\UsageBilling\Metrics {
    use WHMCS\UsageBilling\Contracts\Metrics\MetricInterface;
    use WHMCS\UsageBilling\Contracts\Metrics\UnitInterface;
    use WHMCS\UsageBilling\Contracts\Metrics\UsageInterface;

    class Metric implements MetricInterface
    {
        private $parts;
        private $usage;

        public function __construct(
            $systemName, $displayName = null, $type = null, ?UnitInterface $units = null, ?UsageInterface $usage = null)
        {
            $this->parts = [$systemName, $displayName ?? $systemName, $type ?? self::TYPE_SNAPSHOT, $units];
            $this->usage = $usage;
        }

        public function usage()
        {
            return $this->usage;
        }

        public function withUsage(?UsageInterface $usage = null)
        {
            return new self($this->parts[0], $this->parts[1], $this->parts[2], $this->parts[3], $usage);
        }

        public function systemName()
        {
            return $this->parts[0];
        }

        public function displayName()
        {
            return $this->parts[1];
        }

        public function type()
        {
            return $this->parts[2];
        }

        public function units()
        {
            return $this->parts[3];
        }
    }

    class Usage implements UsageInterface
    {
        private $value;
        private $times;

        public function __construct($value, $collectedAt = null, $startAt = null, $endAt = null)
        {
            $this->value = (float) $value;
            $this->times = array_map(function ($time) {
                return $time === null ? null : new \DateTimeImmutable('@' . (int) $time);
            }, [$collectedAt ?? time(), $startAt, $endAt]);
        }

        public function value()
        {
            return $this->value;
        }

        public function collectedAt()
        {
            return $this->times[0];
        }

        public function startAt()
        {
            return $this->times[1];
        }

        public function endAt()
        {
            return $this->times[2];
        }
    }
}

namespace {
    use WHMCS\UsageBilling\Contracts\Metrics\MetricInterface;
    use WHMCS\UsageBilling\Contracts\Metrics\ProviderInterface;

    /** The value of the field by which WHMCS knows a service as a tenant. */
    function tenant_of($id)
    {
        $field = vmbridge_MetaData()['ListAccountsUniqueIdentifierField'] ?? 'domain';
        $service = state()['services'][$id];
        return (string) (
            strpos($field, 'customfield.') === 0 ? $service['properties'][substr($field, 12)] ?? '' : $service[$field]
                ?? '');
    }

    function provider($server = 1)
    {
        load_module();
        $provider = vmbridge_MetricProvider(server_params($server));
        if (!$provider instanceof ProviderInterface) {
            throw new \RuntimeException('not a provider');
        }
        return $provider;
    }

    /**
     * What WHMCS's cron does: all tenants of a server in one go, a snapshot replaced, a period's record overwritten.
     */
    function collect_metrics($only = 0)
    {
        load_module();
        $metrics = [];
        foreach (array_keys(server_records()) as $number) {
            if ($only === 0) {
                $metrics += provider($number + 1)->usage();
            } elseif ((state()['services'][$only]['server'] ?? 1) === $number + 1) {
                $metrics = [tenant_of($only) => provider($number + 1)->tenantUsage(tenant_of($only))];
            }
        }
        $kept = 0;
        foreach (array_keys(state()['services']) as $id) {
            foreach ($metrics[tenant_of($id)] ?? [] as $metric) {
                keep_metric((int) $id, $metric);
                $kept++;
            }
        }
        return $kept;
    }

    function keep_metric($id, MetricInterface $metric)
    {
        $usage = $metric->usage();
        $period = ['period-day' => 'Y-m-d', 'period-month' => 'Y-m'][$metric->type()] ?? '';
        $key = $period === '' ? 'now'
            : ($usage->startAt() ?? $usage->collectedAt())->modify('+12 hours')->format($period);
        change_state(function (&$state) use ($id, $metric, $usage, $key) {
            $of = &$state['services'][$id]['metrics'][$metric->systemName()];
            $of['title'] = $metric->displayName();
            $of['type'] = $metric->type();
            $of['shown'] = $metric->units()->decorate($usage->value());
            $of['at'] = $usage->collectedAt()->getTimestamp();
            $of['records'][$key] = $usage->value();
        });
    }

    /** The panes beside the overview, in WHMCS's order: id => [title, HTML]; only those with something in them. */
    function product_tabs($id)
    {
        $service = state()['services'][$id];
        $tabs = [];
        $lines = function (array $values) {
            $html = '';
            foreach ($values as $name => $value) {
                $html .= '<tr><th scope="row">' . htmlspecialchars($name) . '</th><td>'
                    . htmlspecialchars((string) $value) . '</td></tr>';
            }
            return '<table class="table"><tbody>' . $html . '</tbody></table>';
        };
        if ($service['configoptions'] ?? []) {
            $tabs['configoptions'] = ['Configurable Options', $lines($service['configoptions'])];
        }
        if ($service['metrics'] ?? []) {
            $tabs['metrics'] = ['Metrics', metric_table($service['metrics'], host()['prices'] ?? [])];
        }
        if ($service['customfields'] ?? []) {
            $tabs['additionalinfo'] = ['Additional Information', $lines($service['customfields'])];
        }
        if ($service['columns']['lastupdate'] ?? '') {
            $of = $service['columns'];
            $tabs['resourceusage'] = ['Resource Usage', $lines([
                'Disk Space' => $of['diskusage'] . ' MB / ' . ($of['disklimit'] ?: 'Unlimited')
                    . ($of['disklimit'] ? ' MB' : ''),
                'Bandwidth' => $of['bwusage'] . ' MB / ' . ($of['bwlimit'] ?: 'Unlimited')
                    . ($of['bwlimit'] ? ' MB' : ''),
                'Last Updated' => $of['lastupdate'],
            ])];
        }
        return $tabs;
    }

    function metric_table(array $metrics, array $prices)
    {
        $html = '';
        foreach ($metrics as $name => $of) {
            $html .= '<tr data-metric="' . htmlspecialchars($name) . '"><th scope="row">'
                . htmlspecialchars($of['title']) . '</th><td>' . htmlspecialchars($of['shown'])
                . '</td><td>' . htmlspecialchars($prices[$name] ?? '') . '</td><td>' . date('Y-m-d H:i', $of['at'])
                . '</td></tr>';
        }
        return '<table class="table"><thead><tr><th>Metric</th><th>Current Usage</th><th>Pricing</th><th>Last '
            . 'Update</th></tr></thead><tbody>' . $html
            . '</tbody></table>';
    }

    /** The overview's pane and the others, as the themes lay them out. */
    function with_tabs($id, $html)
    {
        $tabs = product_tabs($id);
        if ($tabs === []) {
            return $html;
        }
        $links = $panes = '';
        foreach (['domain' => ['Server', $html]] + $tabs as $name => list($title, $content)) {
            $on = $name === 'domain' ? ' active' : '';
            $links .= '<li class="nav-item' . $on . '"><a class="nav-link' . $on . '" href="#' . $name
                . '" data-pane="' . $name . '">' . $title . '</a></li>';
            $panes .= '<div class="tab-pane' . $on . '" id="' . $name . '">' . $content . '</div>';
        }
        return '<ul class="nav nav-tabs">' . $links . '</ul><div class="tab-content" style="padding-top:16px">'
            . $panes . '</div><script>'
            . 'document.querySelectorAll("[data-pane]").forEach(a=>a.addEventListener("click",e=>{e.preventDefault();'
            . 'document.querySelectorAll("[data-pane],.nav-item,.tab-pane").forEach('
            . 'x=>x.classList.toggle("active",x===a||x===a.parentNode||x.id===a.dataset.pane))}))'
            . '</script>';
    }
}
