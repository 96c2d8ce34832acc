module github.com/towpath/towpath

go 1.26
