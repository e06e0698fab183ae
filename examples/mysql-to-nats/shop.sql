-- Run once by the database's container, and by hand elsewhere.
CREATE DATABASE shop;
CREATE TABLE shop.customers (
  id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  email VARCHAR(120) NOT NULL,
  name VARCHAR(80) NOT NULL
);
CREATE TABLE shop.orders (
  id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
  email VARCHAR(120) NOT NULL,
  status ENUM('draft', 'placed', 'paid', 'shipped') NOT NULL,
  total DECIMAL(10, 2) NOT NULL
);
CREATE USER 'cdcd'@'%' IDENTIFIED BY 'choose-a-password';
GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'cdcd'@'%';
GRANT SELECT ON shop.* TO 'cdcd'@'%';
