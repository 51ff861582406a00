<?php
// All values come from the environment: arguments can be seen by every process.
$_SERVER['HTTP_HOST'] = parse_url(getenv('SITE_URL'), PHP_URL_HOST);
if ($argv[1] === 'install') {
    define('WP_INSTALLING', true);
}
require '/usr/share/wordpress/wp-load.php';
// WordPress leaves its own out then. No mail: there may be nothing yet that takes it.
function wp_new_blog_notification() {}
require ABSPATH . 'wp-admin/includes/upgrade.php';
if ($argv[1] === 'upgrade') {
    wp_upgrade();
} elseif (!is_blog_installed()) {
    wp_install($_SERVER['HTTP_HOST'], getenv('ADMIN_USER'), getenv('ADMIN_EMAIL'), true, '', getenv('ADMIN_PASSWORD'));
}
