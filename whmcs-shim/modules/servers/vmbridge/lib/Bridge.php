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

    private $base;
    private $key;
    private $secret;

    /** @param array $params WHMCS's server keys: serverhostname, serverport, serversecure, serverusername, serverpassword */
    public function __construct(array $params)
    {
        $host = trim((string) (isset($params['serverhostname']) ? $params['serverhostname'] : ''));
        if ($host === '') {
            $host = trim((string) (isset($params['serverip']) ? $params['serverip'] : ''));
        }
        $secure = !empty($params['serversecure']) && $params['serversecure'] !== 'off';
        if ($host === '') {
            throw new BridgeException('The server record has no hostname.');
        }
        if (!$secure && !in_array($host, ['127.0.0.1', 'localhost', '::1'], true)) {
            throw new BridgeException('Plain HTTP is only allowed to this machine: tick "Secure" in the server record.');
        }
        $port = (int) (isset($params['serverport']) ? $params['serverport'] : 0);
        if ($port === 0) {
            $port = $secure ? 443 : 8080;
        }
        $shown = strpos($host, ':') !== false ? '[' . $host . ']' : $host;
        $this->base = ($secure ? 'https://' : 'http://') . $shown . ':' . $port;
        $this->key = (string) (isset($params['serverusername']) ? $params['serverusername'] : '');
        $this->secret = (string) (isset($params['serverpassword']) ? $params['serverpassword'] : '');
    }

    /** The signature of contract v1; `$target` is the raw path with its query. */
    public static function sign($secret, $method, $target, $timestamp, $nonce, $body)
    {
        $text = implode("\n", ['v1', $method, $target, $timestamp, $nonce, hash('sha256', $body)]);
        return hash_hmac('sha256', $text, $secret);
    }

    /**
     * One call. Returns [status, decoded body, etag]; throws BridgeException with a sentence for people.
     *
     * @param float $timeout seconds in all
     * @param array $extra   further request headers
     * @param int   $most    bytes of the reply
     */
    public function call($method, $target, $body, $timeout, array $extra = [], $most = self::MAX_REPLY)
    {
        $raw = $body === null ? '' : json_encode($body, JSON_UNESCAPED_SLASHES | JSON_UNESCAPED_UNICODE | JSON_INVALID_UTF8_SUBSTITUTE);
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
        if ($good === false) {
            throw new BridgeException(self::transportSentence($number));
        }
        if ($status === 304) {
            return [304, [], $etag];
        }
        $decoded = json_decode($reply, true);
        if (!is_array($decoded)) {
            throw new BridgeException('The bridge answered something unexpected (HTTP ' . $status . ').');
        }
        if ($status >= 400) {
            throw self::refusal($decoded, $status);
        }
        return [$status, $decoded, $etag];
    }

    private static function transportSentence($number)
    {
        if (in_array($number, [35, 51, 58, 60, 77], true)) {
            return 'The bridge\'s TLS certificate could not be verified.';
        }
        if ($number === CURLE_OPERATION_TIMEDOUT) {
            return 'The bridge did not answer in time. What was ordered may have been accepted; repeating it is safe.';
        }
        return 'The bridge cannot be reached.';
    }

    private static function refusal(array $decoded, $status)
    {
        $error = isset($decoded['error']) && is_array($decoded['error']) ? $decoded['error'] : [];
        $message = isset($error['message']) ? (string) $error['message'] : 'The bridge refused the request (HTTP ' . $status . ').';
        $code = isset($error['code']) ? (string) $error['code'] : '';
        if ($code === 'stale_timestamp' && isset($error['time'])) {
            $message .= ' This server is ' . abs(time() - (int) $error['time']) . ' seconds off; set its clock.';
        }
        $reference = isset($error['reference']) ? (string) $error['reference'] : '';
        return new BridgeException($message, $code, $reference, $status);
    }
}
