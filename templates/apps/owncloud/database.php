<?php
// Prints a copy of the database, whole whatever is written meanwhile, or puts one in its place.
$file = '/mnt/data/files/owncloud.db';

if ($argv[1] === 'dump') {
    if (!is_file($file)) {
        fwrite(STDERR, "error: there is no file $file\n");
        exit(1);
    }
    $copy = tempnam('/tmp', 'dump');
    unlink($copy);
    // PHP 7 says nothing of errors unless it is asked to.
    $db = new PDO("sqlite:$file", null, null, [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_TIMEOUT => 30]);
    $db->exec("VACUUM INTO '$copy'");
    $sent = readfile($copy);
    unlink($copy);
    exit($sent > 0 ? 0 : 1);
}

// The start gives all files to the web server's user, and fails when one goes away under it: not before it waits.
for ($tries = 0; !file_exists('/tmp/sitegen-waits'); $tries++) {
    if ($tries === 600) {
        fwrite(STDERR, "error: ownCloud does not wait for its database: is it installed?\n");
        exit(1);
    }
    usleep(200000);
}
umask(0027);
$new = fopen("$file.new", 'w');
if (!$new || !stream_copy_to_stream(STDIN, $new) || !fclose($new)) exit(1);
chown("$file.new", 'www-data');
// Logs of another file would be taken for ones of this.
foreach (['-wal', '-shm', '-journal'] as $suffix) @unlink($file . $suffix);
exit(rename("$file.new", $file) ? 0 : 1);
