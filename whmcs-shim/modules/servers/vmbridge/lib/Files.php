<?php

namespace WHMCS\Module\Server\Vmbridge;

/** Files of the bridge's release (style sheets, scripts) that come through WHMCS where no public path serves them. */
class Files
{
    const TYPES = ['css' => 'text/css', 'js' => 'text/javascript'];

    /** Ends the request. The address names the content: what once came is kept by the browser. */
    public static function send(array $server, $file, $version, $seconds)
    {
        self::alone();
        $text = '';
        $type = substr((string) strrchr($file, '.'), 1);
        if (isset(self::TYPES[$type]) && $version !== '') {
            try {
                list(, $body) = (new Bridge($server))->call(
                    'GET', '/v1/assets/' . $version . '/' . $file, null, $seconds);
                $text = isset($body['text']) && is_string($body['text']) ? $body['text'] : '';
            } catch (BridgeException $e) {
                $text = '';
            }
        }
        http_response_code($text === '' ? 404 : 200);
        header('Content-Type: ' . ($text === '' ? 'text/plain' : self::TYPES[$type]) . '; charset=utf-8');
        header('X-Content-Type-Options: nosniff');
        header_remove('Pragma');
        header_remove('Expires');
        header('Cache-Control: ' . ($text === '' ? 'no-store' : 'private, max-age=31536000, immutable'));
        echo $text;
        exit;
    }

    /** Other requests of this visitor need not wait, and nothing that WHMCS has printed so far comes along. */
    public static function alone()
    {
        if (session_status() === PHP_SESSION_ACTIVE) {
            session_write_close();
        }
        while (ob_get_level() > 0) {
            ob_end_clean();
        }
    }
}
