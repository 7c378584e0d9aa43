<?php

namespace WHMCS\Module\Addon\Vmbridgehome;

/** What this module says itself, and in which language the bridge shall. */
class Words
{
    /**
     * What is said without the bridge; WHMCS's language overrides may say it in another language under the same keys.
     */
    const SENTENCES = [
        'vmbridgehome_dashboard' => 'Dashboard', 'vmbridgehome_ledger' => 'Ledger',
        'vmbridgehome_down' => 'Your costs cannot be shown just now. Your services are not affected by this.',
        'vmbridgehome_credit' => 'Credit', 'vmbridgehome_services' => 'My services',
        'vmbridgehome_invoices' => 'My invoices',
        'vmbridgehome_addfunds' => 'Add funds', 'vmbridgehome_details' => 'My details',
        'vmbridgehome_again' => 'Try again', 'vmbridgehome_reference' => 'reference',
        'vmbridgehome_not_kept' => 'Your choice could not be kept. Please try again later.',
        'vmbridgehome_none' => 'You have no access to this account. Ask its owner.',
    ];

    /** What the visitor chose for this visit, if there is one; else the account's, else the installation's. */
    public static function language(Access $access, $visit = true)
    {
        $config = isset($GLOBALS['CONFIG']['Language']) ? $GLOBALS['CONFIG']['Language'] : '';
        foreach (
            [$visit && isset($_SESSION['Language']) ? $_SESSION['Language'] : '', $access->client->language,
                $config] as $name) {
            if (is_string($name) && preg_match('/\A[a-z-]{2,30}\z/', $name)) {
                return $name;
            }
        }
        return 'english';
    }

    public static function said($key)
    {
        return isset($GLOBALS['_LANG'][$key]) && is_string($GLOBALS['_LANG'][$key]) ? $GLOBALS['_LANG'][$key]
            : self::SENTENCES[$key];
    }

    public static function escape($text)
    {
        return htmlspecialchars($text, ENT_QUOTES, 'UTF-8');
    }
}
