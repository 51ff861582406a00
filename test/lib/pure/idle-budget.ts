import test from 'ava';
import { budgetOf, parseNeed } from '../../../lib/pure/idle.ts';

test('what all sites may hold is a share of the memory, or a size', (t) => {
  t.is(budgetOf('70%', 1001), 700);
  t.is(budgetOf('12.5%', 800), 100);
  t.is(budgetOf('2G', 1), 2 * 1024 ** 3);
  t.is(budgetOf('much', 1), undefined);
});

test('what a wake asks for is read, and nothing else', (t) => {
  t.deepEqual(parseNeed('1048576:my-site.example.com'), { bytes: 1_048_576, id: 'my-site.example.com' });
  for (const text of ['', '5', ':a', '5:', '-5:a', '5:a/b', '5:a:b', '5 :a', 'x:a']) t.is(parseNeed(text), undefined, text);
});
