CREATE DATABASE IF NOT EXISTS wordpress;
CREATE USER IF NOT EXISTS 'www-data'@'localhost' IDENTIFIED VIA unix_socket;
GRANT ALL ON wordpress.* TO 'www-data'@'localhost';
