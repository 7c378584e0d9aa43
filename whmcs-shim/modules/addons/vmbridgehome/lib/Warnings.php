<?php

namespace WHMCS\Module\Addon\Vmbridgehome;

use WHMCS\Database\Capsule;
use WHMCS\Module\Server\Vmbridge\Bridge;
use WHMCS\Module\Server\Vmbridge\BridgeException;

/**
 * Clients who want a mail before their credit runs out: how many days before, in a table of the add-on's own, and the
 * one call a day that tells the bridge what they have. The bridge writes to each once (bridge/services/low_credit.py)
 * and keeps nothing else.
 */
class Warnings
{
    const TABLE = 'mod_vmbridgehome_warnings';
    const DAYS = [1, 3, 7, 14]; // that may be chosen; 0 is no mail
    const MOST = 1000;          // accounts of one call, as the bridge has it
    const READING = 20;         // seconds of WHMCS's cron for the tables
    const SECONDS = 10;         // and for the call
    const NAMED = 10;           // clients that a line of the activity log names

    /** Safe to repeat. */
    public static function make()
    {
        if (Capsule::schema()->hasTable(self::TABLE)) {
            return;
        }
        Capsule::schema()->create(self::TABLE, function ($table) {
            $table->integer('client_id')->unsigned()->primary();
            $table->integer('days')->unsigned();
            $table->string('seen', 10)->default(''); // the day of the last call that had it
        });
    }

    /** Days before, 0 for no mail. */
    public static function chosen($client)
    {
        try {
            $days = (int) Capsule::table(self::TABLE)->where('client_id', (int) $client)->value('days');
        } catch (\Throwable $e) { // no table yet: nobody has chosen
            return 0;
        }
        return in_array($days, self::DAYS, true) ? $days : 0;
    }

    /** Whoever wants no mail is not kept at all. Throws what the database does. */
    public static function choose($client, $days)
    {
        self::make(); // files that were copied over an active add-on had no activation
        if ($days === 0) {
            Capsule::table(self::TABLE)->where('client_id', (int) $client)->delete();
            return;
        }
        Capsule::table(self::TABLE)->updateOrInsert(['client_id' => (int) $client], ['days' => (int) $days]);
    }

    /**
     * What WHMCS's daily cron does: one call at most, never an exception, and a line in the activity log where there
     * was something to do.
     */
    public static function daily()
    {
        $said = 'vmbridge: clients who want a mail before their credit runs out were not looked at today; the next '
            . 'daily run tries again. ';
        try {
            $rows = self::waiting();
            if ($rows !== []) {
                self::log(self::tell($rows));
            }
        } catch (BridgeException $e) {
            self::log(
                $said . $e->getMessage() . ($e->reference() !== '' ? ' (reference ' . $e->reference() . ')' : ''));
        } catch (\Throwable $e) {
            self::log($said . 'The module failed: ' . get_class($e));
        }
    }

    /** Client => days, who waited longest first; none where there is no table or today's call was made. */
    private static function waiting()
    {
        if (!Capsule::schema()->hasTable(self::TABLE)) {
            return [];
        }
        $days = [];
        $today = false;
        foreach (
            Capsule::table(self::TABLE)->orderBy('seen')->orderBy('client_id')
                ->get(['client_id', 'days', 'seen']) as $row) {
            $today = $today || (string) $row->seen === date('Y-m-d');
            if (in_array((int) $row->days, self::DAYS, true)) {
                $days[(int) $row->client_id] = (int) $row->days;
            }
        }
        return $today ? [] : $days;
    }

    /** The call; what the activity log says of it. Throws BridgeException. */
    private static function tell(array $waiting)
    {
        $ids = array_slice(array_keys($waiting), 0, self::MOST);
        $accounts = Access::owners($ids);
        list($seen, $sent, $clients, $failed, $shared) = self::read($ids, $accounts, $waiting);
        $told = 0;
        if ($clients !== []) {
            list(, $reply) = (new Bridge(Home::server()))->call(
                'POST', '/v1/low-credit', $shared + ['clients' => $clients], self::SECONDS);
            $told = isset($reply['told']) ? (int) $reply['told'] : 0;
            foreach (
                isset($reply['not_read']) && is_array($reply['not_read']) ? $reply['not_read'] : [] as $place => $why) {
                if (isset($sent[(int) $place]) && is_string($why)) {
                    $failed[$sent[(int) $place]] = $why;
                }
            }
        }
        $gone = array_diff($ids, array_keys($accounts));
        if ($gone !== []) {
            Capsule::table(self::TABLE)->whereIn('client_id', $gone)->delete(); // WHMCS has no such client any more
        }
        if ($seen !== []) {
            Capsule::table(self::TABLE)->whereIn('client_id', $seen)->update(['seen' => date('Y-m-d')]);
        }
        return self::said(count($sent), $told, $failed, count($waiting) - count($seen) - count($gone));
    }

    /** [ids that had their turn, ids of the call, the call's clients, id => why not, what is the same for all] */
    private static function read(array $ids, array $accounts, array $waiting)
    {
        $seen = $sent = $clients = $failed = $shared = [];
        $began = microtime(true);
        $room = Reader::MOST;
        foreach ($ids as $id) {
            if (!isset($accounts[$id])) {
                continue;
            }
            $client = $accounts[$id]->client;
            // without credit each invoice is paid by itself
            if ((string) $client->status === 'Active' && (float) $client->credit > 0) {
                if (microtime(true) - $began > self::READING) {
                    break;
                }
                try {
                    $reader = new Reader($accounts[$id]);
                    if ($shared === []) {
                        $shared = $reader->shared();
                        $room -= Reader::size($shared);
                    }
                    $account = ['days' => $waiting[$id], 'language' => Words::language($accounts[$id], false)]
                        + $reader->outlook();
                    $size = Reader::size($account) + 2;
                } catch (\Throwable $e) {
                    $failed[$id] = 'WHMCS\'s tables: ' . get_class($e);
                    $seen[] = $id;
                    continue;
                }
                if ($size > $room && $clients !== []) {
                    break;
                }
                if ($size > $room) {
                    $failed[$id] = 'it has more than one call can hold';
                    $seen[] = $id;
                    continue;
                }
                $room -= $size;
                $sent[] = $id;
                $clients[] = $account;
            }
            $seen[] = $id;
        }
        return [$seen, $sent, $clients, $failed, $shared];
    }

    private static function said($sent, $told, array $failed, $left)
    {
        $text = 'vmbridge: of the clients who want a mail before their credit runs out ' . $sent . ' were looked at, '
            . $told . ' are written to now.';
        foreach (array_slice($failed, 0, self::NAMED, true) as $id => $why) {
            $text .= ' Client ' . $id . ' could not be read: ' . rtrim(substr($why, 0, 200), '.') . '.';
        }
        return $text . ($left > 0 ? ' First in the next daily run: ' . $left . ' who did not fit into the call.' : '');
    }

    private static function log($text)
    {
        try {
            if (function_exists('logActivity')) {
                logActivity($text);
            }
        } catch (\Throwable $e) {
            return;
        }
    }
}
