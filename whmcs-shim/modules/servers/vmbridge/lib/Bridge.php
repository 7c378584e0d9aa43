<?php

namespace WHMCS\Module\Server\Vmbridge;

/**
 * Signed HTTP calls to the bridge. Knows nothing of WHMCS's functions or pages.
 */
class Bridge
{
    const VERSION = '0.1.0';
    const MAX_REPLY = 1048576;
    const CONNECT_TIMEOUT = 2;

    /** Reference of the newest call of this PHP process: staff finds it in WHMCS's logs. */
    private static $last = '';

    private $base;
    private $key;
    private $secret;

    /**
     * @param array $params WHMCS's server keys: serverhostname, serverport, serversecure, serverusername,
     * serverpassword
     */
    public function __construct(array $params)
    {
        $host = trim((string) (isset($params['serverhostname']) ? $params['serverhostname'] : ''));
        if ($host === '') {
            $host = trim((string) (isset($params['serverip']) ? $params['serverip'] : ''));
        }
        $host = self::plain($host);
        $secure = !empty($params['serversecure']) && $params['serversecure'] !== 'off';
        if ($host === '') {
            throw new BridgeException('The server record has no hostname.');
        }
        if (!$secure && !in_array($host, ['127.0.0.1', 'localhost', '::1'], true)) {
            throw new BridgeException(
                'Plain HTTP is only allowed to this machine: tick "Secure" in the server record.');
        }
        $port = (int) (isset($params['serverport']) ? $params['serverport'] : 0);
        if ($port === 0) {
            $port = $secure ? 443 : 8080;
        }
        $shown = strpos($host, ':') !== false ? '[' . $host . ']' : $host;
        $this->base = ($secure ? 'https://' : 'http://') . $shown . ':' . $port;
        $this->key = self::plain(isset($params['serverusername']) ? $params['serverusername'] : '');
        $this->secret = self::plain(isset($params['serverpassword']) ? $params['serverpassword'] : '');
    }

    /**
     * A value of a server record or a product as staff typed it: WHMCS hands it over with entities. Only where it is
     * used, once.
     */
    public static function plain($value)
    {
        return is_scalar($value) ? html_entity_decode((string) $value, ENT_QUOTES, 'UTF-8') : '';
    }

    /** The signature of contract v1; `$target` is the raw path with its query. */
    public static function sign($secret, $method, $target, $timestamp, $nonce, $body)
    {
        $text = implode("\n", ['v1', $method, $target, $timestamp, $nonce, hash('sha256', $body)]);
        return hash_hmac('sha256', $text, $secret);
    }

    /**
     * One call. Returns [status, decoded body, etag]; throws BridgeException with a sentence for people. A reply is
     * good when it is 200 or 202 and an object that says "result": "success"; nothing else is, but the 304 to a
     * question with If-None-Match.
     *
     * @param float $timeout seconds in all
     * @param array $extra   further request headers
     * @param int   $most    bytes of the reply
     */
    public function call($method, $target, $body, $timeout, array $extra = [], $most = self::MAX_REPLY)
    {
        $raw = $body === null ? ''
            : json_encode($body, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE);
        $timestamp = (string) time();
        $nonce = bin2hex(random_bytes(16));
        $headers = array_merge([
            'Content-Type: application/json',
            'Accept: application/json',
            'Expect:',
            'Vmbridge-Key: ' . $this->key,
            'Vmbridge-Timestamp: ' . $timestamp,
            'Vmbridge-Nonce: ' . $nonce,
            'Vmbridge-Signature: ' . self::sign($this->secret, $method, $target, $timestamp, $nonce, $raw),
            'Vmbridge-Shim-Version: ' . self::VERSION,
        ], $extra);
        $reply = '';
        $etag = '';
        $handle = curl_init($this->base . $target);
        curl_setopt_array($handle, [
            CURLOPT_CUSTOMREQUEST => $method,
            CURLOPT_HTTPHEADER => $headers,
            CURLOPT_CONNECTTIMEOUT => self::CONNECT_TIMEOUT,
            CURLOPT_TIMEOUT_MS => (int) ($timeout * 1000),
            CURLOPT_NOSIGNAL => true,
            CURLOPT_FOLLOWLOCATION => false,
            CURLOPT_SSL_VERIFYPEER => true,
            CURLOPT_SSL_VERIFYHOST => 2,
            CURLOPT_PROXY => '',
            CURLOPT_WRITEFUNCTION => function ($handle, $part) use (&$reply, $most) {
                $reply .= $part;
                return strlen($reply) > $most ? 0 : strlen($part);
            },
            CURLOPT_HEADERFUNCTION => function ($handle, $line) use (&$etag) {
                if (stripos($line, 'ETag:') === 0) {
                    $etag = trim(substr($line, 5));
                }
                return strlen($line);
            },
        ]);
        if ($raw !== '') {
            curl_setopt($handle, CURLOPT_POSTFIELDS, $raw);
        }
        $good = curl_exec($handle);
        $status = (int) curl_getinfo($handle, CURLINFO_RESPONSE_CODE);
        $number = curl_errno($handle);
        curl_close($handle);
        $reference = self::$last = substr($nonce, 0, 12);
        if ($good === false) {
            throw new BridgeException(self::transportSentence($number), '', $reference);
        }
        if ($status === 304 && preg_grep('/\\AIf-None-Match:/i', $extra) !== []) {
            return [304, [], $etag];
        }
        $decoded = json_decode($reply, true);
        $object = is_array($decoded) && strpos(ltrim($reply), '{') === 0;
        if ($object && $status >= 400) {
            throw self::refusal($decoded, $status, $reference);
        }
        if (!$object || !in_array($status, [200, 202], true) || !isset($decoded['result'])
            || $decoded['result'] !== 'success') {
            throw self::unexpected($status, $reference);
        }
        return [$status, $decoded, $etag];
    }

    /** For a reply that is not what was asked for. */
    public static function unexpected($status = 200, $reference = '')
    {
        $text = 'The bridge answered something unexpected (HTTP ' . (int) $status
            . '). What was ordered may have been accepted; repeating it is safe.';
        return new BridgeException($text, '', $reference === '' ? self::$last : $reference, $status);
    }

    private static function transportSentence($number)
    {
        if (in_array($number, [35, 51, 58, 60, 77], true)) {
            return 'The bridge\'s TLS certificate could not be verified.';
        }
        if ($number === CURLE_OPERATION_TIMEDOUT) {
            return 'The bridge did not answer in time. What was ordered may have been accepted; repeating it is safe.';
        }
        if (in_array($number, [5, 6, 7], true)) { // no address, no connection: nothing was sent
            return 'The bridge cannot be reached.';
        }
        return 'The bridge\'s answer did not come whole. What was ordered may have been accepted; repeating it is '
            . 'safe.';
    }

    private static function refusal(array $decoded, $status, $reference)
    {
        $error = isset($decoded['error']) && is_array($decoded['error']) ? array_filter($decoded['error'], 'is_scalar')
            : [];
        $message = isset($error['message']) ? (string) $error['message'] : 'The bridge refused the request (HTTP '
            . $status . ').';
        $code = isset($error['code']) ? (string) $error['code'] : '';
        if ($code === 'stale_timestamp' && isset($error['time'])) {
            $message .= ' This server is ' . abs(time() - (int) $error['time']) . ' seconds off; set its clock.';
        }
        $reference = isset($error['reference']) ? (string) $error['reference'] : $reference;
        return new BridgeException($message, $code, $reference, $status);
    }
}
