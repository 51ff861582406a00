import test from 'ava';
import { tableFilter } from '../../../lib/pure/dump-table.ts';

const part = (table: string, dump: string) => {
  const belongs = tableFilter(table);
  return dump.split('\n').filter((line) => belongs(line)).join('\n');
};

test('of mariadb-dump a table is what stands under its comments', (t) => {
  const dump = [
    '-- MariaDB dump', '-- Table structure for table `posts`', 'CREATE TABLE `posts` (', '  `id` int', ');', '-- Dumping data for table `posts`', 'INSERT INTO `posts` VALUES (1);',
    '-- Table structure for table `posts_meta`', 'CREATE TABLE `posts_meta` (', ');', 'INSERT INTO `posts_meta` VALUES (2);', '-- Dumping routines for database \'x\'', 'CREATE PROCEDURE p()', '-- Dump completed',
  ].join('\n');
  t.is(part('posts', dump), dump.split('\n').slice(1, 7).join('\n'));
  t.is(part('posts_meta', dump), dump.split('\n').slice(7, 11).join('\n'));
  t.is(part('post', dump), '');
});

test('of pg_dump it is its definition and its rows', (t) => {
  const dump = [
    '-- Name: posts; Type: TABLE; Schema: public; Owner: x', 'CREATE TABLE public.posts (id int);', '-- Name: posts_seq; Type: SEQUENCE; Schema: public; Owner: x', 'CREATE SEQUENCE public.posts_seq;',
    '-- Data for Name: posts; Type: TABLE DATA; Schema: public; Owner: x', 'COPY public.posts (id) FROM stdin;', '1', String.raw`\.`, '-- Data for Name: posts; Type: TABLE DATA; Schema: other; Owner: x', 'COPY other.posts (id) FROM stdin;', '2', String.raw`\.`,
  ];
  t.is(part('public.posts', dump.join('\n')), [...dump.slice(0, 2), ...dump.slice(4, 8)].join('\n'));
  t.is(part('posts', dump.join('\n')).split('\n').length, 10);
});

test('of SQLite it is its statements, of several lines too', (t) => {
  const dump = ['BEGIN TRANSACTION;', 'CREATE TABLE posts (id int,', 'text text);', 'INSERT INTO posts VALUES(1,\'a', 'b\');', 'CREATE TABLE other (id int);', 'INSERT INTO "posts" VALUES(2,\'c\');', 'COMMIT;'].join('\n');
  t.is(part('posts', dump), ['CREATE TABLE posts (id int,', 'text text);', 'INSERT INTO posts VALUES(1,\'a', 'b\');', 'INSERT INTO "posts" VALUES(2,\'c\');'].join('\n'));
});
