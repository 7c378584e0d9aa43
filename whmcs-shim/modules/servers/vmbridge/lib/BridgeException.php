<?php

namespace WHMCS\Module\Server\Vmbridge;

/**
 * A failed call: a sentence for people, the bridge's code and the reference that staff finds in its log.
 */
class BridgeException extends \RuntimeException
{
    private $word;
    private $reference;

    public function __construct($message, $word = '', $reference = '', $status = 0)
    {
        parent::__construct($message, (int) $status);
        $this->word = $word;
        $this->reference = $reference;
    }

    /** The bridge's stable error code, or an empty string. */
    public function word()
    {
        return $this->word;
    }

    public function reference()
    {
        return $this->reference;
    }

    /** Plain text without markup, ending in the reference. */
    public function sentence()
    {
        $text = trim(strip_tags($this->getMessage()));
        $text = function_exists('mb_substr') ? mb_substr($text, 0, 280) : substr($text, 0, 280);
        return $this->reference === '' ? $text : $text . ' (reference ' . $this->reference . ')';
    }
}
