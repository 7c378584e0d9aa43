<?php

namespace WHMCS\Module\Addon\Vmbridgehome;

use WHMCS\Database\Capsule;
use WHMCS\Module\Server\Vmbridge\BridgeException;
use WHMCS\Module\Server\Vmbridge\Records;

/**
 * Which bridge is asked, and that one which does not answer is not waited for by every visitor: a row for each server
 * record whose calls fail. One client's calls alone never keep the dashboard from others, since an account may be too
 * large for its time: it takes two clients, one after the other without an answer between. Then all go straight to the
 * fallback, and each PAUSE seconds one visitor tries; the first answer ends it. The row has ids and a time, nothing of
 * an account.
 */
class Calls
{
    const TABLE = 'mod_vmbridgehome_calls';
    const PAUSE = 30; // seconds

    private $params;
    private $server;
    private $client = 0;
    private $paused = 0;
    private $known = false;

    /** The active server record of that id, or the first one. Throws BridgeException where there is none. */
    public static function of($wanted)
    {
        foreach (self::records() as $row) {
            if ((int) $wanted === 0 || (int) $wanted === (int) $row->id) {
                $calls = new self();
                $calls->params = Records::server($row);
                $calls->server = (int) $row->id;
                $calls->known = isset($row->failed_client);
                $calls->client = $calls->known ? (int) $row->failed_client : 0;
                $calls->paused = $calls->known ? (int) $row->paused_until : 0;
                return $calls;
            }
        }
        throw new BridgeException('There is no active server of type vmbridge in WHMCS.');
    }

    private static function records()
    {
        $query = Capsule::table('tblservers as s')->where('s.type', 'vmbridge')->where('s.disabled', 0)
            ->orderBy('s.id');
        try {
            $with = clone $query;
            return $with->leftJoin(self::TABLE . ' as k', 'k.server_id', '=', 's.id')->get(
                ['s.*', 'k.client_id as failed_client', 'k.paused_until']);
        } catch (\Throwable $e) { // no table yet: no call has failed
            return $query->get(['s.*']);
        }
    }

    /** Safe to repeat. */
    public static function make()
    {
        if (Capsule::schema()->hasTable(self::TABLE)) {
            return;
        }
        Capsule::schema()->create(self::TABLE, function ($table) {
            $table->integer('server_id')->unsigned()->primary();
            $table->integer('client_id')->unsigned(); // whose call failed last
            $table->integer('paused_until')->unsigned(); // 0: one client's calls have failed, others go on
        });
    }

    /** WHMCS's server keys. */
    public function params()
    {
        return $this->params;
    }

    /** Whether this visitor may ask now; of a pause that is over it is one. Who asks expressly always may. */
    public function open($expressly = false)
    {
        if ($expressly || $this->paused === 0) {
            return true;
        }
        if ($this->paused > time()) {
            return false;
        }
        try {
            return (int) $this->row()->where('paused_until', $this->paused)
                ->update(['paused_until' => time() + self::PAUSE]) === 1;
        } catch (\Throwable $e) {
            return true;
        }
    }

    public function answered()
    {
        try {
            if ($this->known) {
                $this->row()->delete();
            }
        } catch (\Throwable $e) {
            return;
        }
    }

    /** What the bridge itself refuses was an answer; what did not come, or not whole, is none. */
    public function failed(BridgeException $e, $client)
    {
        if ($e->getCode() !== 0) {
            $this->answered();
            return;
        }
        $pause = $this->paused > 0 || ($this->known && $this->client !== (int) $client);
        try {
            self::make(); // files that were copied over an active add-on had no activation
            Capsule::table(self::TABLE)->updateOrInsert(
                ['server_id' => $this->server],
                ['client_id' => (int) $client, 'paused_until' => $pause ? time() + self::PAUSE : 0]);
        } catch (\Throwable $e) {
            return; // without the table each visitor waits
        }
    }

    private function row()
    {
        return Capsule::table(self::TABLE)->where('server_id', $this->server);
    }
}
