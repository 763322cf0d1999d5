import { parser } from '@grafana/lezer-logql';

/** Returns whether the text is valid LogQL, which is the case if the parser inserts no error node. */
export function isLogql(text: string): boolean {
  let isRight = true;
  parser.parse(text).iterate({
    enter: ({ type }) => {
      if (type.isError) isRight = false;
    },
  });
  return isRight;
}
