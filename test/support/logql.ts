import { parser } from '@grafana/lezer-logql';

/** Whether Loki's grammar accepts the text: the parser puts an error node where it does not fit. */
export function isLogql(text: string): boolean {
  let isRight = true;
  parser.parse(text).iterate({
    enter: ({ type }) => {
      if (type.isError) isRight = false;
    },
  });
  return isRight;
}
